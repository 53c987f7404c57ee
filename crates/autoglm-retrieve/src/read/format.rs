//! Formats of documents, by the names of files and their first bytes.

use std::path::Path;

/// What a file is read as.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Format {
    /// Markdown with the tables and footnotes of GitHub.
    Markdown,
    /// HTML.
    Html,
    /// Plain text.
    Plain,
    /// PDF.
    Pdf,
    /// A document of a word processor.
    Docx,
    /// A record a line, with a line of names.
    Csv {
        /// What stands between fields.
        separator: u8,
    },
    /// A JSON object a line.
    Jsonl,
    /// Source code.
    Code {
        /// The programming language.
        language: &'static str,
    },
}

/// Extensions of source code with the language.
const CODE: &[(&str, &str)] = &[
    ("rs", "rust"),
    ("py", "python"),
    ("pyi", "python"),
    ("js", "javascript"),
    ("mjs", "javascript"),
    ("jsx", "javascript"),
    ("ts", "typescript"),
    ("tsx", "typescript"),
    ("java", "java"),
    ("kt", "kotlin"),
    ("scala", "scala"),
    ("go", "go"),
    ("c", "c"),
    ("h", "c"),
    ("cc", "c++"),
    ("cpp", "c++"),
    ("cxx", "c++"),
    ("hpp", "c++"),
    ("hh", "c++"),
    ("cu", "c++"),
    ("cs", "c#"),
    ("swift", "swift"),
    ("m", "objective-c"),
    ("rb", "ruby"),
    ("php", "php"),
    ("pl", "perl"),
    ("pm", "perl"),
    ("lua", "lua"),
    ("r", "r"),
    ("jl", "julia"),
    ("hs", "haskell"),
    ("ml", "ocaml"),
    ("ex", "elixir"),
    ("exs", "elixir"),
    ("erl", "erlang"),
    ("clj", "clojure"),
    ("dart", "dart"),
    ("sh", "shell"),
    ("bash", "shell"),
    ("zsh", "shell"),
    ("ps1", "powershell"),
    ("sql", "sql"),
    ("proto", "protobuf"),
    ("toml", "toml"),
    ("yaml", "yaml"),
    ("yml", "yaml"),
    ("json", "json"),
    ("css", "css"),
];

/// Extensions of files that hold no text, which are not worth opening.
const NO_TEXT: &[&str] = &[
    "png",
    "jpg",
    "jpeg",
    "gif",
    "webp",
    "bmp",
    "ico",
    "tiff",
    "svgz",
    "heic",
    "mp3",
    "mp4",
    "wav",
    "ogg",
    "flac",
    "avi",
    "mov",
    "mkv",
    "webm",
    "zip",
    "gz",
    "xz",
    "bz2",
    "zst",
    "7z",
    "rar",
    "tar",
    "tgz",
    "jar",
    "whl",
    "deb",
    "rpm",
    "exe",
    "dll",
    "so",
    "a",
    "o",
    "rlib",
    "pyc",
    "class",
    "wasm",
    "bin",
    "dat",
    "db",
    "sqlite",
    "gguf",
    "safetensors",
    "pt",
    "onnx",
    "npy",
    "parquet",
    "ttf",
    "otf",
    "woff",
    "woff2",
    "iso",
];

impl Format {
    /// The format by a file's name, whether gzip has packed it or not; `None` for files of which the name says that they are no
    /// document, [`Format::Plain`] where it says nothing.
    pub fn of_name(path: &Path) -> Option<Self> {
        // What is packed has its own name in front: `manual.html.gz`, `README.gz`.
        let stem = path.file_stem().map(Path::new);
        let is_packed = path
            .extension()
            .is_some_and(|e| e.eq_ignore_ascii_case("gz"));
        let path = stem.filter(|_| is_packed).unwrap_or(path);
        let extension = path
            .extension()
            .and_then(|e| e.to_str())
            .unwrap_or_default();
        let extension = extension.to_ascii_lowercase();
        let found = match extension.as_str() {
            "md" | "markdown" | "mdx" => Self::Markdown,
            "html" | "htm" | "xhtml" => Self::Html,
            "pdf" => Self::Pdf,
            "docx" => Self::Docx,
            "csv" => Self::Csv { separator: b',' },
            "tsv" => Self::Csv { separator: b'\t' },
            "jsonl" | "ndjson" => Self::Jsonl,
            other if NO_TEXT.contains(&other) => return None,
            other => match CODE.iter().find(|(name, _)| *name == other) {
                Some((_, language)) => Self::Code { language },
                None => Self::Plain,
            },
        };
        Some(found)
    }

    /// The name in filters and stores; of code the language.
    pub fn name(self) -> &'static str {
        match self {
            Self::Markdown => "markdown",
            Self::Html => "html",
            Self::Plain => "text",
            Self::Pdf => "pdf",
            Self::Docx => "docx",
            Self::Csv { .. } => "csv",
            Self::Jsonl => "jsonl",
            Self::Code { language } => language,
        }
    }
}

/// Whether the name of a format is that of a programming language.
pub(crate) fn is_code(format: &str) -> bool {
    CODE.iter().any(|(_, language)| *language == format)
}
