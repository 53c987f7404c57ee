//! Tests with documents that they write themselves, as LaTeX, word processors and browsers do.

use lopdf::{Dictionary, Document, Object, Stream, dictionary};

use super::super::{Extracted, Format, Limits, ReadError, read};

/// A document in the making.
struct Draft {
    document: Document,
    tree: lopdf::ObjectId,
    fonts: Dictionary,
    forms: Dictionary,
    pages: Vec<Object>,
}

impl Draft {
    /// With Helvetica as `F1`.
    fn new() -> Self {
        let mut document = Document::with_version("1.5");
        let tree = document.new_object_id();
        let mut draft = Self {
            document,
            tree,
            fonts: Dictionary::new(),
            forms: Dictionary::new(),
            pages: Vec::new(),
        };
        draft.font(
            "F1",
            dictionary! {
                "Type" => "Font", "Subtype" => "Type1", "BaseFont" => "Helvetica",
                "Encoding" => "WinAnsiEncoding",
            },
        );
        draft
    }

    fn stream(&mut self, dict: Dictionary, content: &str) -> Object {
        let stream = Stream::new(dict, content.as_bytes().to_vec());
        self.document.add_object(stream).into()
    }

    fn font(&mut self, name: &str, font: Dictionary) {
        let id = self.document.add_object(font);
        self.fonts.set(name, id);
    }

    /// A font of two bytes a character.
    fn wide_font(&mut self, name: &str, encoding: &str, to_unicode: Option<&str>) {
        let own = self.document.add_object(dictionary! {
            "Type" => "Font", "Subtype" => "CIDFontType2", "DW" => 1000,
        });
        let mut font = dictionary! {
            "Type" => "Font", "Subtype" => "Type0", "Encoding" => encoding,
            "DescendantFonts" => vec![own.into()],
        };
        if let Some(map) = to_unicode {
            let map = self.stream(dictionary! {}, map);
            font.set("ToUnicode", map);
        }
        self.font(name, font);
    }

    fn form(&mut self, name: &str, matrix: [i64; 6], content: &str) {
        let dict = dictionary! {
            "Type" => "XObject", "Subtype" => "Form",
            "Matrix" => matrix.map(Object::from).to_vec(),
        };
        let form = self.stream(dict, content);
        self.forms.set(name, form);
    }

    fn page(&mut self, content: &str) -> lopdf::ObjectId {
        let content = self.stream(dictionary! {}, content);
        let page = self.document.add_object(dictionary! {
            "Type" => "Page", "Parent" => self.tree, "Contents" => content,
        });
        self.pages.push(page.into());
        page
    }

    fn finished(mut self) -> Document {
        let count = self.pages.len() as i64;
        let pages = dictionary! {
            "Type" => "Pages", "Kids" => self.pages, "Count" => count,
            "Resources" => dictionary! { "Font" => self.fonts, "XObject" => self.forms },
        };
        self.document.objects.insert(self.tree, pages.into());
        let mut catalog = dictionary! { "Type" => "Catalog", "Pages" => self.tree };
        if let Some(outlines) = self.document.trailer.remove(b"Outlines") {
            catalog.set("Outlines", outlines);
        }
        let catalog = self.document.add_object(catalog);
        self.document.trailer.set("Root", catalog);
        self.document
    }

    fn read(self) -> Extracted {
        read(&saved(self.finished()), Format::Pdf, &Limits::default()).unwrap()
    }
}

fn saved(mut document: Document) -> Vec<u8> {
    let mut file = Vec::new();
    document.save_to(&mut file).unwrap();
    file
}

/// Each block with its headings.
fn blocks(found: &Extracted) -> Vec<String> {
    let block = |block: &super::super::Block| {
        let text = found.text[block.range.clone()].replace('\n', "⏎");
        format!("{}: {text}", block.titles.join(" › "))
    };
    found.blocks.iter().map(block).collect()
}

/// What one page shows with Helvetica.
fn shown(content: &str) -> Vec<String> {
    let mut draft = Draft::new();
    draft.page(content);
    blocks(&draft.read())
}

#[test]
fn words_in_several_fonts_and_text_objects_are_on_one_line() {
    assert_eq!(
        shown(
            "BT /F1 10 Tf 1 0 0 1 10 700 Tm (See) Tj ET BT 1 0 0 1 32 700 Tm /F1 9 Tf (chmod) Tj ET \
             BT /F1 10 Tf 1 0 0 1 59 700 Tm (\\(1\\)) Tj 1 0 0 1 70 704 Tm /F1 6 Tf (2) Tj ET"
        ),
        [": See chmod(1)2"]
    );
}

#[test]
fn text_in_forms_and_under_maps_is_where_it_is_drawn() {
    let mut draft = Draft::new();
    draft.form(
        "X1",
        [1, 0, 0, 1, 0, 100],
        "BT /F1 10 Tf 10 600 Td (In a form.) Tj ET",
    );
    // A form that draws itself ends somewhere.
    draft.form("X2", [1, 0, 0, 1, 0, 0], "/X2 Do");
    draft.page("q 2 0 0 2 0 0 cm BT /F1 5 Tf 5 360 Td (First.) Tj ET Q /X1 Do /X2 Do");
    assert_eq!(blocks(&draft.read()), [": First.⏎In a form."]);
}

#[test]
fn text_that_is_turned_is_read_along_its_lines() {
    assert_eq!(
        shown("BT /F1 10 Tf 0 1 -1 0 100 50 Tm (Turned) Tj 0 1 -1 0 112 50 Tm (page.) Tj ET"),
        [": Turned⏎page."]
    );
}

#[test]
fn ligatures_are_letters_and_soft_hyphens_are_none() {
    let mut draft = Draft::new();
    draft.font(
        "F2",
        dictionary! {
            "Type" => "Font", "Subtype" => "Type1", "BaseFont" => "ABCDEF+CMR10",
            "Encoding" => dictionary! {
                "Type" => "Encoding",
                "Differences" => vec![
                    12.into(), Object::Name(b"fi".to_vec()), Object::Name(b"f_f_i".to_vec()),
                    Object::Name(b"unknownglyph".to_vec()),
                ],
            },
        },
    );
    draft.page("BT /F2 10 Tf 10 700 Td (\\014le o\\015ce) Tj ET");
    assert_eq!(blocks(&draft.read()), [": file office"]);
}

#[test]
fn marked_content_reads_as_the_document_says() {
    assert_eq!(
        shown(
            "BT /F1 10 Tf 1 0 0 1 10 700 Tm (Its e) Tj /Span <</ActualText (ffi)>> BDC (X) Tj (Y) Tj EMC \
             /Span <</ActualText <FEFF00AD>>> BDC ( ) Tj EMC 1 0 0 1 34 700 Tm (cien) Tj \
             /Span <</ActualText <FEFF00AD>>> BDC ( ) Tj EMC 1 0 0 1 54 700 Tm (-) Tj \
             1 0 0 1 10 688 Tm (cy /Artifact BMC falls.) Tj /P <</MCID 1>> BDC ( So) Tj EMC \
             /Span <</ActualText ()>> BDC ( it) Tj EMC EMC ( is pre-) Tj \
             1 0 0 1 10 676 Tm (set.) Tj ET"
        ),
        [": Its efficiency /Artifact BMC falls. So is preset."]
    );
}

#[test]
fn a_font_without_an_encoding_has_it_in_its_file() {
    let mut draft = Draft::new();
    let file = "%!PS-AdobeFont-1.0: CMR10\n/Encoding 256 array\ndup 12 /fi put\nreadonly def\n\
                currentfile eexec binary";
    let file = draft.stream(dictionary! {}, file);
    let descriptor = dictionary! { "Type" => "FontDescriptor", "FontFile" => file };
    draft.font(
        "F2",
        dictionary! {
            "Type" => "Font", "Subtype" => "Type1", "BaseFont" => "CMR10",
            "FontDescriptor" => descriptor,
        },
    );
    draft.page("BT /F2 10 Tf 10 700 Td (\\014t) Tj ET");
    assert_eq!(blocks(&draft.read()), [": fit"]);
}

/// A map that names the glyphs 1 to 5: 水, 泵, 加, 油, and the radical that looks like 文.
const MAP: &str = "/CIDInit /ProcSet findresource begin\n12 dict begin\nbegincmap\n\
    /CIDSystemInfo << /Registry (Adobe) /Ordering (UCS) /Supplement 0 >> def\n\
    /CMapName /Adobe-Identity-UCS def\n/CMapType 2 def\n\
    1 begincodespacerange\n<0000> <FFFF>\nendcodespacerange\n\
    5 beginbfchar\n<0001> <6C34>\n<0002> <6CF5>\n<0003> <52A0>\n<0004> <6CB9>\n<0005> <2F42>\n\
    endbfchar\nendcmap\nCMapName currentdict /CMap defineresource pop\nend\nend\n";

#[test]
fn chinese_is_read_by_the_fonts_map_and_by_names_of_encodings() {
    let mut draft = Draft::new();
    draft.wide_font("C1", "Identity-H", Some(MAP));
    draft.wide_font("C2", "GBK-EUC-H", None);
    draft.wide_font("C3", "UniGB-UCS2-H", None);
    draft.page("BT /C1 10 Tf 10 700 Td <00010002> Tj 20 0 Td <00030004> Tj 20 0 Td <0005> Tj ET");
    draft.page("BT /C2 10 Tf 10 700 Td <CBAE41B1C3> Tj ET");
    draft.page("BT /C3 10 Tf 10 700 Td <6C346CF5> Tj ET");
    assert_eq!(blocks(&draft.read()), [": 水泵加油文", ": 水A泵", ": 水泵"]);
}

#[test]
fn characters_that_no_font_tells_are_remarked() {
    let mut draft = Draft::new();
    draft.wide_font("C1", "Identity-H", None);
    draft.page("BT /C1 10 Tf 10 700 Td <00010002> Tj /F1 10 Tf (ok) Tj ET");
    let found = draft.read();
    assert_eq!(blocks(&found), [": ok"]);
    assert_eq!(
        found.remarks,
        ["2 characters are drawn in fonts that do not tell which they are"]
    );
}

#[test]
fn pages_of_pictures_are_remarked() {
    let mut draft = Draft::new();
    draft.page("q 600 0 0 800 0 0 cm /Im1 Do Q");
    let found = draft.read();
    assert_eq!(
        found.remarks,
        ["there is no text in it, only pictures of it"]
    );
    let mut draft = Draft::new();
    draft.page("BT /F1 10 Tf 10 700 Td (Typed.) Tj ET");
    draft.page("q 600 0 0 800 0 0 cm /Im1 Do Q");
    let found = draft.read();
    assert_eq!(
        found.remarks,
        ["1 of 2 pages have no text, only pictures of it"]
    );
}

#[test]
fn bookmarks_are_headings_where_their_lines_stand() {
    let mut draft = Draft::new();
    let first = draft.page(
        "BT /F1 10 Tf 10 700 Td (Before.) Tj 0 -30 Td (1.1 Oil the pump) Tj 0 -30 Td (Monthly.) Tj ET",
    );
    let second = draft.page("BT /F1 10 Tf 10 700 Td (More.) Tj ET");
    let outlines = draft.document.new_object_id();
    let (one, two) = (
        draft.document.new_object_id(),
        draft.document.new_object_id(),
    );
    let to = |page: lopdf::ObjectId| vec![page.into(), Object::Name(b"Fit".to_vec())];
    let entry = |title: &str, page| {
        dictionary! {
            "Title" => Object::string_literal(title), "Parent" => outlines, "Dest" => to(page),
        }
    };
    let mut first = entry("Oil the pump", first);
    first.set("Next", two);
    draft.document.objects.insert(one, first.into());
    draft
        .document
        .objects
        .insert(two, entry("Else", second).into());
    let root = dictionary! { "Type" => "Outlines", "First" => one, "Last" => two, "Count" => 2 };
    draft.document.objects.insert(outlines, root.into());
    draft.document.trailer.set("Outlines", outlines);
    assert_eq!(
        blocks(&draft.read()),
        [": Before.", "Oil the pump: Monthly.", "Else: More."]
    );
}

#[test]
fn what_opens_without_a_password_is_read_and_what_does_not_is_named() {
    let file = |password: &str| {
        let mut draft = Draft::new();
        draft.page("BT /F1 10 Tf 10 700 Td (Locked.) Tj ET");
        let mut document = draft.finished();
        let id = Object::string_literal("0123456789abcdef");
        document.trailer.set("ID", vec![id.clone(), id]);
        let version = lopdf::EncryptionVersion::V2 {
            document: &document,
            owner_password: "owner",
            user_password: password,
            key_length: 128,
            permissions: lopdf::Permissions::all(),
        };
        let state = lopdf::EncryptionState::try_from(version).unwrap();
        document.encrypt(&state).unwrap();
        read(&saved(document), Format::Pdf, &Limits::default())
    };
    assert_eq!(blocks(&file("").unwrap()), [": Locked."]);
    let error = file("secret").unwrap_err();
    assert!(matches!(error, ReadError::Broken { .. }), "{error}");
    assert!(error.to_string().contains("password"), "{error}");
}
