use std::io::Write as _;
use std::path::Path;

use super::*;

fn read_as(file: impl AsRef<[u8]>, format: Format) -> Extracted {
    read(file.as_ref(), format, &Limits::default()).unwrap()
}

/// Blocks as `titles: text` lines.
fn blocks(extracted: &Extracted) -> Vec<String> {
    let block = |block: &Block| {
        let text = extracted.text[block.range.clone()].replace('\n', "⏎");
        format!("{}: {text}", block.titles.join("/"))
    };
    extracted.blocks.iter().map(block).collect()
}

fn check(file: &str, format: Format, wanted: &[&str]) {
    assert_eq!(blocks(&read_as(file, format)), wanted);
}

/// Each block's bytes in the file.
fn in_the_file<'a>(file: &'a [u8], extracted: &Extracted) -> Vec<&'a str> {
    let bytes = |block: &Block| {
        let place = extracted.place(block, &block.range);
        assert_eq!(place.within, Within::File);
        std::str::from_utf8(&file[place.start..place.end]).unwrap()
    };
    extracted.blocks.iter().map(bytes).collect()
}

#[test]
fn markdown_has_headings_lists_tables_and_code() {
    check(
        "# A *b*\n\ntext\nmore\n\n- one\n- two\n\n## C\n\n```sh\nls\n```\n\n| x |\n|---|\n| 1 |\n",
        Format::Markdown,
        &[
            "A b: text⏎more",
            "A b: - one",
            "A b: - two",
            "A b/C: ```sh⏎ls⏎```",
            "A b/C: | x |⏎|---|⏎| 1 |",
        ],
    );
}

#[test]
fn front_matter_is_what_a_document_says_of_itself() {
    let found = read_as(
        "---\ntitle: \"The Guide\"\nyear: 2001\n---\n\n# Pump\n\nOil it.\n",
        Format::Markdown,
    );
    assert_eq!(blocks(&found), ["The Guide/Pump: Oil it."]);
    assert_eq!(found.meta["year"], "2001");
}

#[test]
fn html_has_headings_and_blocks_and_leaves_out_what_is_no_text() {
    let page = "<html><head><title>Guide &amp; more</title><style>p{}</style></head><body>\
        <nav>Home</nav><h1>Pump</h1><p>Oil <b>it</b>\n  every &lt;month&gt;.<script>if (a<b) {}</script></p>\
        <h2>Parts</h2><table><tr><th>a<th>b</tr><tr><td>1<td>2</tr></table><pre>x\n  y</pre></body></html>";
    let found = read_as(page, Format::Html);
    assert_eq!(
        blocks(&found),
        [
            "Guide & more/Pump: Oil it every <month>.",
            "Guide & more/Pump/Parts: a | b",
            "Guide & more/Pump/Parts: 1 | 2",
            "Guide & more/Pump/Parts: x⏎  y",
        ]
    );
    let bytes = in_the_file(page.as_bytes(), &found);
    assert!(
        bytes[0].starts_with("Oil <b>it</b>") && bytes[0].contains("month"),
        "{bytes:?}"
    );
    assert_eq!(bytes[3], "x\n  y");
}

#[test]
fn plain_text_has_paragraphs_and_underlined_headings() {
    check(
        "Guide\n=====\n\nOne\ntwo.\n\nParts\n-----\nThree.\n\nNext\n====\n\nFour.",
        Format::Plain,
        &["Guide: One⏎two.", "Guide/Parts: Three.", "Next: Four."],
    );
}

#[test]
fn tables_and_lines_of_json_are_records_with_their_bytes() {
    let table = "id,title,text,year\n7,Pump,\"Oil, it\",2001\n,,Turn it,\n";
    let found = read_as(table, Format::Csv { separator: b',' });
    assert_eq!(blocks(&found), ["Pump: Oil, it", ": Turn it"]);
    assert_eq!(
        in_the_file(table.as_bytes(), &found),
        ["7,Pump,\"Oil, it\",2001", ",,Turn it,"]
    );
    let record = found.blocks[0].record.as_ref().unwrap();
    assert_eq!(
        (record.name.as_str(), record.meta["year"].as_str()),
        ("7", Some("2001"))
    );
    let found = read_as("{\"a\": 1, \"b\": \"x\"}\nnull\n", Format::Jsonl);
    assert_eq!(blocks(&found), [": a: 1⏎b: x⏎"]);
    assert!(
        found.remarks[0].starts_with("line 2 is skipped"),
        "{:?}",
        found.remarks
    );
}

#[test]
fn marks_in_front_and_other_encodings_are_understood() {
    let marked = "\u{feff}中文".as_bytes();
    let found = read_as(marked, Format::Plain);
    assert_eq!(blocks(&found), [": 中文"]);
    assert_eq!(in_the_file(marked, &found), ["中文"]);
    let utf16: Vec<u8> = "\u{feff}ab中"
        .encode_utf16()
        .flat_map(u16::to_le_bytes)
        .collect();
    assert_eq!(blocks(&read_as(utf16, Format::Plain)), [": ab中"]);
    let (chinese, _, _) = encoding_rs::GB18030.encode("给水泵加油。每个月一次。");
    let found = read_as(&chinese, Format::Plain);
    assert_eq!(blocks(&found), [": 给水泵加油。每个月一次。"]);
    assert_eq!(
        found.place(&found.blocks[0], &found.blocks[0].range).within,
        Within::Text
    );
    let refused = read(&[1, 0, 2, 255], Format::Plain, &Limits::default()).unwrap_err();
    assert!(matches!(refused, ReadError::Unknown));
}

/// A document of a word processor, of the parts that matter.
fn docx(body: &str) -> Vec<u8> {
    let mut archive = zip::ZipWriter::new(std::io::Cursor::new(Vec::new()));
    let mut part = |name: &str, text: &str| {
        archive
            .start_file(name, zip::write::SimpleFileOptions::default())
            .unwrap();
        archive.write_all(text.as_bytes()).unwrap();
    };
    part(
        "word/document.xml",
        &format!("<w:document><w:body>{body}</w:body></w:document>"),
    );
    part(
        "word/styles.xml",
        "<w:styles><w:style w:styleId=\"1\"><w:name w:val=\"heading 1\"/></w:style></w:styles>",
    );
    part(
        "docProps/core.xml",
        "<p><dc:title>Guide</dc:title><dc:creator>Ann</dc:creator></p>",
    );
    archive.finish().unwrap().into_inner()
}

#[test]
fn documents_of_word_processors_have_headings_paragraphs_and_rows() {
    let file = docx(
        "<w:p><w:pPr><w:pStyle w:val=\"1\"/></w:pPr><w:r><w:t>水泵</w:t></w:r></w:p>\
         <w:p><w:r><w:t>Oil &amp; </w:t></w:r><w:r><w:t>grease</w:t></w:r></w:p>\
         <w:tbl><w:tr><w:tc><w:p><w:r><w:t>a</w:t></w:r></w:p></w:tc>\
         <w:tc><w:p><w:r><w:t>b</w:t></w:r></w:p></w:tc></w:tr></w:tbl>",
    );
    let found = read_as(&file, Format::Docx);
    assert_eq!(
        blocks(&found),
        ["Guide/水泵: Oil & grease", "Guide/水泵: a | b"]
    );
    assert_eq!(found.meta["creator"], "Ann");
}

#[test]
fn an_archive_that_unpacks_to_too_much_is_refused() {
    let file = docx(&" ".repeat(3_000_000));
    assert!(file.len() < 20_000);
    let limits = Limits {
        unpacked_bytes: 1_000_000,
        ..Limits::default()
    };
    let error = read(&file, Format::Docx, &limits).unwrap_err();
    assert!(
        matches!(
            error,
            ReadError::TooLarge {
                limit: 1_000_000,
                ..
            }
        ),
        "{error}"
    );
}

#[test]
fn what_leads_elsewhere_in_html_is_no_text() {
    let page = "<title>Pumps</title><div class='navheader'><table><tr><th>Pumps</th></tr></table></div>\
        <div role=navigation><a href='x.html'>next</a></div>\
        <h1>Pumps<a class=headerlink href='#pumps'>¶</a></h1>\
        <div class=toc><dl><dt><a href='#oil'>1. Oil</a></dt></dl></div>\
        <p>Oil it.</p>\
        <ul><li><a href='a.html'>A</a></li><li><a href='b.html'>Bearings</a>,<li><a href='#c'>C</a></li>\
        <li><a href='d.html'>D</a></li></ul>\
        <p>See <a href='e.html'>E</a>.</p><ul><li><a href='f.html'>F</a></li></ul>\
        <ul><li><a href='https://a.example'>g</a></li><li><a href='https://b.example'>h</a></li>\
        <li><a href='https://c.example'>i</a></li><li><a href='https://d.example'>j</a></li></ul>";
    let texts = ["Oil it.", "See E.", "F", "g", "h", "i", "j"];
    let wanted: Vec<String> = texts.iter().map(|text| format!("Pumps: {text}")).collect();
    assert_eq!(blocks(&read_as(page, Format::Html)), wanted);
}

#[test]
fn sentences_end_with_blocks_of_html_and_terms_lead_to_their_definitions() {
    let found = read_as("<p>One<p>Two<dl><dt>--abort<dd>Ends it.</dl>", Format::Html);
    assert_eq!(found.text.trim(), "One\n\nTwo\n\n--abort\nEnds it.");
    let leads: Vec<bool> = found.blocks.iter().map(|block| block.leads).collect();
    assert_eq!(leads, [false, false, true, false]);
}

#[test]
fn tables_of_contents_of_plain_text_are_left_out() {
    let text = "1. Oil ......... 3\n2. Wash ........ 4\n\nOil it ... often.\n";
    assert_eq!(
        blocks(&read_as(text, Format::Plain)),
        [": Oil it ... often."]
    );
}

fn packed(bytes: &[u8]) -> Vec<u8> {
    let mut file = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    std::io::Write::write_all(&mut file, bytes).unwrap();
    file.finish().unwrap()
}

#[test]
fn what_gzip_has_packed_is_read_within_limits() {
    assert_eq!(
        Format::of_name(Path::new("a/manual.html.gz")),
        Some(Format::Html)
    );
    assert_eq!(Format::of_name(Path::new("README.gz")), Some(Format::Plain));
    assert_eq!(Format::of_name(Path::new("all.tar.gz")), None);
    let found = read_as(packed(b"<h1>Pump</h1><p>Oil it."), Format::Html);
    assert_eq!(blocks(&found), ["Pump: Oil it."]);
    let place = found.place(&found.blocks[0], &found.blocks[0].range);
    assert_eq!((place.within, place.line), (Within::Text, None));
    let limits = Limits {
        unpacked_bytes: 1_000_000,
        ..Limits::default()
    };
    let bomb = packed(&vec![b' '; 2_000_000]);
    let error = read(&bomb, Format::Plain, &limits).unwrap_err();
    assert!(
        matches!(
            error,
            ReadError::TooLarge {
                limit: 1_000_000,
                ..
            }
        ),
        "{error}"
    );
    let error = read(&bomb[..bomb.len() / 2], Format::Plain, &Limits::default()).unwrap_err();
    assert!(
        matches!(error, ReadError::Broken { format: "gzip", .. }),
        "{error}"
    );
    let twice = packed(&packed(b"text"));
    assert!(matches!(
        read(&twice, Format::Plain, &limits),
        Err(ReadError::Unknown)
    ));
}

/// A PDF with a page for each of some contents.
fn pdf(pages: &[&str]) -> Vec<u8> {
    use lopdf::{Document, Object, Stream, dictionary};
    let mut document = Document::with_version("1.5");
    let tree = document.new_object_id();
    let font = document.add_object(dictionary! {
        "Type" => "Font", "Subtype" => "Type1", "BaseFont" => "Helvetica",
        "Encoding" => "WinAnsiEncoding",
    });
    let resources = document.add_object(dictionary! { "Font" => dictionary! { "F1" => font } });
    let mut kids = Vec::new();
    for page in pages {
        let mut stream = Stream::new(dictionary! {}, page.as_bytes().to_vec());
        let _ = stream.compress();
        let content = document.add_object(stream);
        let page = document.add_object(dictionary! {
            "Type" => "Page", "Parent" => tree, "Contents" => content, "Resources" => resources,
        });
        kids.push(Object::from(page));
    }
    let count = kids.len() as i64;
    let pages = dictionary! { "Type" => "Pages", "Kids" => kids, "Count" => count };
    document.objects.insert(tree, Object::Dictionary(pages));
    let catalog = document.add_object(dictionary! { "Type" => "Catalog", "Pages" => tree });
    document.trailer.set("Root", catalog);
    let mut file = Vec::new();
    document.save_to(&mut file).unwrap();
    file
}

#[test]
fn pages_of_a_pdf_have_words_and_lines() {
    let file = pdf(&[
        "BT /F1 12 Tf 10 700 Td (Oil the) Tj 0 -14 Td [(pu) 20 (mp) -300 (now.)] TJ ET",
        "BT /F1 12 Tf 1 0 0 1 10 700 Tm (Second) Tj 1 0 0 1 60 700 Tm (page) Tj ET",
    ]);
    let found = read_as(&file, Format::Pdf);
    assert_eq!(blocks(&found), [": Oil the⏎pump now.", ": Second page"]);
    assert_eq!(found.blocks[1].page, Some(2));
    assert_eq!(
        found.place(&found.blocks[1], &found.blocks[1].range).within,
        Within::Text
    );
}

#[test]
fn pdfs_with_too_many_pages_or_too_much_in_them_are_refused_or_remarked() {
    let page = "BT /F1 12 Tf (x) Tj ET";
    let limits = Limits {
        pages: 2,
        ..Limits::default()
    };
    let error = read(&pdf(&[page; 3]), Format::Pdf, &limits).unwrap_err();
    assert!(
        matches!(
            error,
            ReadError::TooLarge {
                given: 3,
                limit: 2,
                ..
            }
        ),
        "{error}"
    );
    let large = " ".repeat(2_000_000) + page;
    let limits = Limits {
        unpacked_bytes: 1_000_000,
        ..Limits::default()
    };
    let found = read(&pdf(&[&large]), Format::Pdf, &limits).unwrap();
    assert!(
        found.remarks[0].starts_with("page 1 cannot be read"),
        "{:?}",
        found.remarks
    );
}

#[test]
fn whatever_the_bytes_nothing_panics() {
    use proptest::prelude::*;
    let formats = [
        Format::Markdown,
        Format::Html,
        Format::Plain,
        Format::Pdf,
        Format::Docx,
        Format::Csv { separator: b',' },
        Format::Jsonl,
        Format::Code { language: "rust" },
    ];
    let starts: [&[u8]; 3] = [
        b"",
        b"%PDF-1.5\n1 0 obj<</Type/Catalog/Pages 2 0 R>>endobj\n",
        b"PK\x03\x04",
    ];
    proptest!(ProptestConfig::with_cases(64), |(tail in prop::collection::vec(any::<u8>(), 0..200), text in "[<>/a-c#|*`\\[\\](){}\"',:\n -]{0,200}", start in 0_usize..3)| {
        for format in formats {
            let bytes = [starts[start], &tail[..]].concat();
            for file in [bytes.as_slice(), text.as_bytes()] {
                if let Ok(found) = read(file, format, &Limits::default()) {
                    for block in &found.blocks {
                        let place = found.place(block, &block.range);
                        prop_assert!(place.start <= place.end);
                        prop_assert!(place.within == Within::Text || place.end <= file.len());
                    }
                }
            }
        }
    });
}

#[test]
fn deep_nesting_is_no_deeper_for_us() {
    let deep = "<div>".repeat(200_000) + "text";
    assert_eq!(blocks(&read_as(deep, Format::Html)), [": text"]);
    let quotes = "> ".repeat(5_000) + "text";
    assert_eq!(read_as(quotes, Format::Markdown).blocks.len(), 1);
    let headings: Vec<String> = (0..100)
        .map(|n| format!("{} h{n}\n\nx\n\n", "#".repeat(n % 6 + 1)))
        .collect();
    let headings = headings.concat();
    let found = read_as(headings, Format::Markdown);
    assert!(found.blocks.iter().all(|block| block.titles.len() <= 6));
}
