//! Bookmarks, which are the headings of a document.

use std::collections::{HashMap, HashSet};

use lopdf::{Dictionary, Document, Object, ObjectId};

use super::lines::Line;

/// Lines that the bookmarks of a page are compared with in all; more are not of a page that is read.
const MOST_COMPARED: usize = 1 << 20;

/// A bookmark.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Bookmark {
    pub(super) level: usize,
    pub(super) title: String,
    pub(super) page: usize,
}

/// The bookmarks of a document in order of their pages; none where it has none. Each is visited once,
/// however they are linked.
pub(super) fn bookmarks(document: &Document) -> Vec<Bookmark> {
    let pages = document.get_pages().into_iter();
    let reader = Reader {
        document,
        names: names(document),
        pages: pages.map(|(number, id)| (id, number as usize)).collect(),
    };
    let first = document
        .catalog()
        .and_then(|catalog| catalog.get_deref(b"Outlines", document))
        .and_then(Object::as_dict)
        .and_then(|outlines| outlines.get(b"First"))
        .and_then(Object::as_reference);
    let mut open: Vec<(ObjectId, usize)> = first.into_iter().map(|id| (id, 1)).collect();
    let mut seen = HashSet::new();
    let mut found = Vec::new();
    while let Some((id, level)) = open.pop() {
        let Ok(entry) = document.get_dictionary(id) else {
            continue;
        };
        if !seen.insert(id) {
            continue;
        }
        let linked = |key: &[u8]| entry.get(key).and_then(Object::as_reference).ok();
        open.extend(linked(b"Next").map(|next| (next, level)));
        open.extend(linked(b"First").map(|child| (child, level + 1)));
        found.extend(reader.bookmark(entry, level));
    }
    found.sort_by_key(|bookmark: &Bookmark| bookmark.page);
    found
}

/// Knows where bookmarks lead.
struct Reader<'a> {
    document: &'a Document,
    names: HashMap<Vec<u8>, &'a Object>,
    pages: HashMap<ObjectId, usize>,
}

impl Reader<'_> {
    fn bookmark(&self, entry: &Dictionary, level: usize) -> Option<Bookmark> {
        let title = entry.get_deref(b"Title", self.document).ok()?;
        let target = entry.get_deref(b"Dest", self.document).ok().or_else(|| {
            let action = entry.get_deref(b"A", self.document).ok()?.as_dict().ok()?;
            action.get_deref(b"D", self.document).ok()
        })?;
        let named = match target {
            Object::Name(name) | Object::String(name, _) => *self.names.get(name)?,
            other => other,
        };
        let place = match named {
            Object::Dictionary(own) => own.get_deref(b"D", self.document).ok()?,
            other => other,
        };
        let page = place.as_array().ok()?.first()?.as_reference().ok()?;
        Some(Bookmark {
            level,
            title: lopdf::decode_text_string(title).ok()?,
            page: *self.pages.get(&page)?,
        })
    }
}

/// Places that have names: in a dictionary, or in a tree of which each node is visited once.
///
/// # Source
/// ISO 32000-1, 12.3.2.3 and 7.9.6.
fn names(document: &Document) -> HashMap<Vec<u8>, &Object> {
    let mut found = HashMap::new();
    let Ok(catalog) = document.catalog() else {
        return found;
    };
    if let Ok(old) = catalog
        .get_deref(b"Dests", document)
        .and_then(Object::as_dict)
    {
        for (name, place) in old {
            found.extend(
                document
                    .dereference(place)
                    .map(|(_, place)| (name.clone(), place)),
            );
        }
    }
    let root = catalog
        .get_deref(b"Names", document)
        .and_then(Object::as_dict)
        .and_then(|names| names.get_deref(b"Dests", document))
        .and_then(Object::as_dict);
    let mut open: Vec<&Dictionary> = root.into_iter().collect();
    let mut seen = HashSet::new();
    while let Some(node) = open.pop() {
        if let Ok(kids) = node.get_deref(b"Kids", document).and_then(Object::as_array) {
            let ids = kids.iter().filter_map(|kid| kid.as_reference().ok());
            let new = ids.filter(|id| seen.insert(*id));
            open.extend(new.filter_map(|id| document.get_dictionary(id).ok()));
        }
        if let Ok(names) = node
            .get_deref(b"Names", document)
            .and_then(Object::as_array)
        {
            for [name, place] in names.as_chunks::<2>().0 {
                if let (Ok(name), Ok((_, place))) = (name.as_str(), document.dereference(place)) {
                    found.insert(name.to_vec(), place);
                }
            }
        }
    }
    found
}

/// Where the headings of a page stand in it: how many lines from which on each takes. One that is not
/// found stands where the one before it does.
pub(super) fn places(bookmarks: &[Bookmark], lines: &[Line]) -> Vec<(usize, usize)> {
    let keys: Vec<String> = lines.iter().map(|line| key(&line.text)).collect();
    let (mut from, mut left) = (0, MOST_COMPARED);
    let mut found = Vec::with_capacity(bookmarks.len());
    for bookmark in bookmarks {
        let to_compare = keys.len() - from;
        let is_affordable = to_compare <= left;
        left -= if is_affordable { to_compare } else { 0 };
        let title = key(&bookmark.title);
        let place = is_affordable.then(|| find(&title, &keys, from)).flatten();
        let (at, count) = place.unwrap_or((from, 0));
        found.push((at, count));
        from = at + count;
    }
    found
}

/// The first line from one on that is a title, or the first of two or three that are together; a
/// number may stand in front of it.
fn find(title: &str, keys: &[String], from: usize) -> Option<(usize, usize)> {
    if title.is_empty() {
        return None;
    }
    (from..keys.len()).find_map(|at| {
        let mut joined = String::new();
        (1..=3).find_map(|count| {
            joined.push_str(keys.get(at + count - 1)?);
            let before = joined.strip_suffix(title)?;
            is_number(before).then_some((at, count))
        })
    })
}

/// Whether what stands in front of a title numbers it: `1.2`, `Chapter 1`, `第 1 章`, `A.1`.
fn is_number(before: &str) -> bool {
    let words = [
        "chapter", "appendix", "section", "part", "第", "章", "节", "附录", "部分",
    ];
    let mut rest = before.to_owned();
    for word in words {
        rest = rest.replace(word, "");
    }
    rest.chars().count() <= 6
        && (rest.is_empty()
            || rest.chars().count() == 1
            || rest.chars().any(|c| c.is_ascii_digit())
            || rest
                .chars()
                .all(|c| "一二三四五六七八九十百ivxlc".contains(c)))
}

/// The letters and digits of a text, in lower case.
fn key(text: &str) -> String {
    let own = text.chars().filter(|c| c.is_alphanumeric());
    own.flat_map(char::to_lowercase).collect()
}
