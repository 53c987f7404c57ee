//! What a page shows: follows the operators that move and show text.

use std::collections::BTreeMap;
use std::rc::Rc;

use lopdf::content::{Content, Operation};
use lopdf::{Dictionary, Document, Object, ObjectId, Stream, decode_text_string};

use super::font::Font;

/// Bytes that a map or file of a font unpacks to at most: maps of all Chinese characters have half as
/// many.
const FONT_BYTES: usize = 1 << 20;
/// What a font costs of the bytes that may be unpacked, what a form costs beside its own, and what one
/// costs that is packed several times, where what it unpacks to in between is not known.
const FONT_COST: usize = 32 << 10;
const FORM_COST: usize = 1 << 10;
const CHAIN_COST: usize = 1 << 20;
/// Forms within forms that are followed.
const FORM_DEPTH: usize = 8;
/// Saved states that are kept; files that save more are broken.
const STATES: usize = 256;

/// A string of text where it stands on a page.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Run {
    /// Which way it runs, in right angles.
    pub(super) turn: u8,
    /// Where it begins along its line, in points.
    pub(super) start: f32,
    /// Where it ends.
    pub(super) end: f32,
    /// How high its line is, in points.
    pub(super) height: f32,
    /// The size of its letters, in points.
    pub(super) size: f32,
    /// What it says.
    pub(super) text: String,
}

/// Reads pages of one document; fonts are read once.
pub(super) struct Pages<'a> {
    document: &'a Document,
    /// By where their dictionaries lie in memory: some have no number.
    fonts: BTreeMap<usize, Rc<Font>>,
    /// Bytes that may still be unpacked. What is unpacked costs more than it comes to, so that very
    /// many that come to nothing end, too.
    left: usize,
    /// Characters that fonts do not tell.
    pub(super) untold: usize,
    /// Pictures that were drawn.
    pub(super) pictures: usize,
    /// Forms that could not be read.
    pub(super) unread: usize,
}

/// Numbers of an affine map: x' = ax + cy + e, y' = bx + dy + f.
type Matrix = [f32; 6];
const SAME: Matrix = [1.0, 0.0, 0.0, 1.0, 0.0, 0.0];

/// The map that first does `a` and then `b`.
fn then(a: Matrix, b: Matrix) -> Matrix {
    [
        a[0] * b[0] + a[1] * b[2],
        a[0] * b[1] + a[1] * b[3],
        a[2] * b[0] + a[3] * b[2],
        a[2] * b[1] + a[3] * b[3],
        a[4] * b[0] + a[5] * b[2] + b[4],
        a[4] * b[1] + a[5] * b[3] + b[5],
    ]
}

/// The state that `q` saves.
///
/// # Source
/// ISO 32000-1, 8.4.1 and 9.3.1.
#[derive(Clone)]
struct State {
    map: Matrix,
    font: Option<Rc<Font>>,
    size: f32,
    character_gap: f32,
    word_gap: f32,
    stretch: f32,
    leading: f32,
    rise: f32,
}

impl<'a> Pages<'a> {
    pub(super) fn new(document: &'a Document, left: usize) -> Self {
        Self {
            document,
            fonts: BTreeMap::new(),
            left,
            untold: 0,
            pictures: 0,
            unread: 0,
        }
    }

    /// The runs of a page in the order in which they are drawn.
    ///
    /// # Errors
    /// A page that is malformed or larger than what may still be unpacked.
    pub(super) fn runs(&mut self, page: ObjectId) -> lopdf::Result<Vec<Run>> {
        let (own, ids) = self.document.get_page_resources(page)?;
        let others = ids
            .iter()
            .filter_map(|id| self.document.get_dictionary(*id).ok());
        let resources: Vec<&Dictionary> = own.into_iter().chain(others).collect();
        let data = self.document.get_page_content_with_limit(page, self.left)?;
        let mut runs = Vec::new();
        self.follow(&data, &resources, (SAME, 0), &mut runs)?;
        Ok(runs)
    }

    /// Follows the operators of a page or form.
    fn follow(
        &mut self,
        data: &[u8],
        resources: &[&'a Dictionary],
        (map, depth): (Matrix, usize),
        runs: &mut Vec<Run>,
    ) -> lopdf::Result<()> {
        self.left = self.left.saturating_sub(data.len());
        let mut pen = Pen::new(map);
        let mut marked: Vec<Option<Replaced>> = Vec::new();
        for operation in Content::decode(data)?.operations {
            let name = || {
                operation
                    .operands
                    .first()
                    .and_then(|name| name.as_name().ok())
            };
            match operation.operator.as_str() {
                "Tf" => {
                    pen.state.font = name().and_then(|name| self.font(resources, name));
                    pen.state.size = number(&operation, 1);
                }
                "Do" if depth < FORM_DEPTH => {
                    let form = name().and_then(|name| self.find(resources, b"XObject", name));
                    match form.and_then(as_form) {
                        Some(form) => {
                            let inside = (pen.state.map, depth + 1);
                            let read = self.follow_form(form, resources, inside, runs);
                            // What else the page shows is worth having.
                            self.unread += usize::from(read.is_err());
                        }
                        None => self.pictures += 1,
                    }
                }
                "BMC" | "BDC" if marked.len() < STATES => {
                    let replaced = self.replaced(resources, &operation);
                    marked.push(replaced.map(|text| Replaced {
                        text,
                        first: runs.len(),
                        untold: self.untold,
                    }));
                }
                "EMC" => {
                    if let Some(replaced) = marked.pop().flatten() {
                        self.untold = replaced.untold;
                        replaced.put(runs);
                    }
                }
                _ => self.untold += pen.take(&operation, runs),
            }
        }
        Ok(())
    }

    /// What the document says that marked content reads, where that is not what its glyphs say.
    fn replaced(&mut self, resources: &[&'a Dictionary], operation: &Operation) -> Option<String> {
        let properties = match operation.operands.get(1)? {
            Object::Dictionary(properties) => properties,
            Object::Name(name) => self.find(resources, b"Properties", name)?.as_dict().ok()?,
            _ => return None,
        };
        let text = properties.get_deref(b"ActualText", self.document).ok()?;
        let text = decode_text_string(text).ok()?;
        // Many marks may name one long text.
        self.left = self.left.checked_sub(text.len())?;
        Some(text)
    }

    fn follow_form(
        &mut self,
        form: &'a Stream,
        resources: &[&'a Dictionary],
        (map, depth): (Matrix, usize),
        runs: &mut Vec<Run>,
    ) -> lopdf::Result<()> {
        let own = form.dict.get_deref(b"Resources", self.document);
        let own = own.and_then(Object::as_dict).ok();
        let all: Vec<&Dictionary> = own.into_iter().chain(resources.iter().copied()).collect();
        let matrix = form
            .dict
            .get_deref(b"Matrix", self.document)
            .and_then(Object::as_array);
        let mut inner = SAME;
        for (value, number) in inner.iter_mut().zip(matrix.into_iter().flatten()) {
            *value = number.as_float().unwrap_or(*value);
        }
        let data = form.get_plain_content_with_limit(self.left);
        let is_chain = form.filters().is_ok_and(|filters| filters.len() > 1);
        let cost = form.content.len() + if is_chain { CHAIN_COST } else { FORM_COST };
        self.left = self.left.saturating_sub(cost);
        let data = data?;
        self.follow(&data, &all, (then(inner, map), depth), runs)
    }

    /// Something that resources name.
    fn find(&self, resources: &[&'a Dictionary], kind: &[u8], name: &[u8]) -> Option<&'a Object> {
        resources.iter().find_map(|resources| {
            let named = resources
                .get_deref(kind, self.document)
                .ok()?
                .as_dict()
                .ok()?;
            let found = self.document.dereference(named.get(name).ok()?);
            Some(found.ok()?.1)
        })
    }

    fn font(&mut self, resources: &[&'a Dictionary], name: &[u8]) -> Option<Rc<Font>> {
        let found = self.find(resources, b"Font", name)?.as_dict().ok()?;
        let place = std::ptr::from_ref(found).addr();
        if let Some(known) = self.fonts.get(&place) {
            return Some(Rc::clone(known));
        }
        let limit = self.left.min(FONT_BYTES);
        self.left = self.left.saturating_sub(FONT_COST);
        let font = Rc::new(Font::of(found, self.document, limit));
        self.fonts.insert(place, Rc::clone(&font));
        Some(font)
    }
}

/// Marked content whose text is told.
///
/// # Source
/// ISO 32000-1, 14.9.4.
struct Replaced {
    text: String,
    /// Runs before it.
    first: usize,
    /// Characters before it that fonts do not tell.
    untold: usize,
}

impl Replaced {
    /// Puts the text in the place of the runs that were drawn since.
    fn put(self, runs: &mut Vec<Run>) {
        let end = runs.last().map(|run| run.end);
        if let Some(run) = runs.get_mut(self.first) {
            run.end = end.unwrap_or(run.end).max(run.start);
            run.text = self.text;
            runs.truncate(self.first + 1);
        }
    }
}

/// A drawing of its own, where that is what is drawn.
fn as_form(object: &Object) -> Option<&Stream> {
    let form = object.as_stream().ok()?;
    let kind = form.dict.get(b"Subtype").and_then(Object::as_name);
    matches!(kind, Ok(b"Form")).then_some(form)
}

fn number(operation: &Operation, at: usize) -> f32 {
    let operand = operation.operands.get(at);
    operand.and_then(|o| o.as_float().ok()).unwrap_or(0.0)
}

/// Where the next character is drawn.
struct Pen {
    state: State,
    saved: Vec<State>,
    line: Matrix,
    text: Matrix,
}

impl Pen {
    fn new(map: Matrix) -> Self {
        Self {
            state: State {
                map,
                font: None,
                size: 0.0,
                character_gap: 0.0,
                word_gap: 0.0,
                stretch: 1.0,
                leading: 0.0,
                rise: 0.0,
            },
            saved: Vec::new(),
            line: SAME,
            text: SAME,
        }
    }

    /// Does what an operator says; gives how many characters the font does not tell.
    ///
    /// # Source
    /// ISO 32000-1, 8.4.4 and 9.4.
    fn take(&mut self, operation: &Operation, runs: &mut Vec<Run>) -> usize {
        let number = |at| number(operation, at);
        let matrix = || {
            [
                number(0),
                number(1),
                number(2),
                number(3),
                number(4),
                number(5),
            ]
        };
        match operation.operator.as_str() {
            "q" if self.saved.len() < STATES => self.saved.push(self.state.clone()),
            "Q" => self.state = self.saved.pop().unwrap_or_else(|| self.state.clone()),
            "cm" => self.state.map = then(matrix(), self.state.map),
            "BT" => self.set(SAME),
            "Tm" => self.set(matrix()),
            "Td" => self.move_by(number(0), number(1)),
            "TD" => {
                self.state.leading = -number(1);
                self.move_by(number(0), number(1));
            }
            "T*" => self.move_by(0.0, -self.state.leading),
            "TL" => self.state.leading = number(0),
            "Tc" => self.state.character_gap = number(0),
            "Tw" => self.state.word_gap = number(0),
            "Tz" => self.state.stretch = number(0) / 100.0,
            "Ts" => self.state.rise = number(0),
            "Tj" | "TJ" => return self.show_all(&operation.operands, runs),
            "'" => {
                self.move_by(0.0, -self.state.leading);
                return self.show_all(&operation.operands, runs);
            }
            "\"" => {
                self.state.word_gap = number(0);
                self.state.character_gap = number(1);
                self.move_by(0.0, -self.state.leading);
                return self.show_all(&operation.operands[2.min(operation.operands.len())..], runs);
            }
            _ => {}
        }
        0
    }

    fn set(&mut self, matrix: Matrix) {
        (self.line, self.text) = (matrix, matrix);
    }

    fn move_by(&mut self, x: f32, y: f32) {
        self.set(then([1.0, 0.0, 0.0, 1.0, x, y], self.line));
    }

    fn show_all(&mut self, operands: &[Object], runs: &mut Vec<Run>) -> usize {
        let mut untold = 0;
        for operand in operands {
            match operand {
                Object::String(bytes, _) => untold += self.show(bytes, runs),
                Object::Array(parts) => {
                    for part in parts {
                        match part {
                            Object::String(bytes, _) => untold += self.show(bytes, runs),
                            other => {
                                let gap = other.as_float().unwrap_or(0.0) / 1000.0;
                                self.advance(-gap * self.state.size * self.state.stretch);
                            }
                        }
                    }
                }
                _ => {}
            }
        }
        untold
    }

    fn advance(&mut self, x: f32) {
        self.text = then([1.0, 0.0, 0.0, 1.0, x, 0.0], self.text);
    }

    fn show(&mut self, bytes: &[u8], runs: &mut Vec<Run>) -> usize {
        let Some(font) = self.state.font.clone() else {
            return 0;
        };
        let begin = self.place();
        let (mut text, mut untold) = (String::new(), 0);
        for shown in font.show(bytes) {
            untold += usize::from(shown.text.is_empty());
            text.push_str(&shown.text);
            let word_gap = if shown.is_blank {
                self.state.word_gap
            } else {
                0.0
            };
            let width = shown.width / 1000.0 * self.state.size;
            self.advance((width + self.state.character_gap + word_gap) * self.state.stretch);
        }
        let end = self.place();
        if !text.is_empty() {
            runs.push(run(begin, end, self.letter_size(), text));
        }
        untold
    }

    /// Where the pen is on the page, and which way it goes.
    fn place(&self) -> Matrix {
        let risen = [1.0, 0.0, 0.0, 1.0, 0.0, self.state.rise];
        then(then(risen, self.text), self.state.map)
    }

    fn letter_size(&self) -> f32 {
        let place = self.place();
        self.state.size * place[2].hypot(place[3])
    }
}

/// A run between two places. Lines are told apart in the frame in which it runs to the right.
fn run(begin: Matrix, end: Matrix, size: f32, text: String) -> Run {
    let (along, up) = (begin[0], begin[1]);
    let turn = match (along.abs() >= up.abs(), along >= 0.0, up >= 0.0) {
        (true, true, _) => 0,
        (true, false, _) => 2,
        (false, _, true) => 1,
        (false, _, false) => 3,
    };
    let frame = |place: Matrix| match turn {
        0 => (place[4], place[5]),
        1 => (place[5], -place[4]),
        2 => (-place[4], -place[5]),
        _ => (-place[5], place[4]),
    };
    let (start, height) = frame(begin);
    Run {
        turn,
        start,
        end: frame(end).0.max(start),
        height,
        size: size.abs(),
        text,
    }
}
