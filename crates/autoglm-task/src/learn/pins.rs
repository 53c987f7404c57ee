//! Records whose answers users have settled: what was said of them holds, whatever is learnt later.

use std::collections::BTreeMap;

use serde::Serialize;

use super::learner::Lesson;

/// What must hold, by the record that it is said of.
#[derive(Debug, Clone)]
pub(super) struct Pins {
    /// How many labels there are.
    labels: usize,
    of_record: BTreeMap<String, Vec<Pin>>,
    overruled: Vec<Overruled>,
}

#[derive(Debug, Clone, Copy)]
struct Pin {
    id: i64,
    lesson: Lesson,
}

/// A pinned row that another on the same record contradicts later.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct Overruled {
    /// The row.
    pub id: i64,
    /// The later row, which holds.
    pub by: i64,
}

impl Pins {
    /// Nothing that must hold, for so many labels.
    pub(super) fn new(labels: usize) -> Self {
        Self {
            labels,
            of_record: BTreeMap::new(),
            overruled: Vec::new(),
        }
    }

    /// Takes a row in; those before it on the same record that contradict it hold no longer, nor do
    /// the oldest where all together would leave no label.
    pub(super) fn add(&mut self, record: String, id: i64, lesson: Lesson) {
        let labels = self.labels;
        let pins = self.of_record.entry(record).or_default();
        for pin in pins.extract_if(.., |pin| contradict(pin.lesson, lesson)) {
            self.overruled.push(Overruled { id: pin.id, by: id });
        }
        pins.push(Pin { id, lesson });
        while pins.len() > 1 && !(0..labels).any(|label| all_allow(pins, label)) {
            let Pin { id: oldest, .. } = pins.remove(0);
            self.overruled.push(Overruled { id: oldest, by: id });
        }
    }

    /// Whether nothing must hold.
    pub(super) fn is_empty(&self) -> bool {
        self.of_record.is_empty()
    }

    /// How many rows hold.
    pub(super) fn len(&self) -> usize {
        self.of_record.values().map(Vec::len).sum()
    }

    /// The rows that hold no longer.
    pub(super) fn overruled(&self) -> &[Overruled] {
        &self.overruled
    }

    /// Changes places with the first label that may be the answer to a record, among labels of
    /// which the most probable is first.
    pub(super) fn settle(&self, record: &str, labels: &mut [usize]) {
        let pins = self.of_record.get(record).map_or(&[][..], Vec::as_slice);
        let may_be = |label: &usize| all_allow(pins, *label);
        if let Some(place) = labels.iter().position(may_be) {
            labels.swap(0, place);
        }
    }
}

fn all_allow(pins: &[Pin], label: usize) -> bool {
    pins.iter().all(|pin| pin.lesson.allows(label))
}

/// Whether two rows on one record cannot both hold.
fn contradict(one: Lesson, other: Lesson) -> bool {
    match (one, other) {
        (Lesson::Is(label), lesson) | (lesson, Lesson::Is(label)) => !lesson.allows(label),
        (Lesson::IsNot(_), Lesson::IsNot(_)) => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn settled(pins: &[(i64, Lesson)]) -> (Vec<usize>, Vec<Overruled>) {
        let mut all = Pins::new(3);
        for (id, lesson) in pins {
            all.add("record".to_owned(), *id, *lesson);
        }
        let mut labels = vec![2, 0, 1];
        all.settle("record", &mut labels);
        let mut others = vec![2, 0, 1];
        all.settle("another record", &mut others);
        assert_eq!(others, [2, 0, 1]);
        (labels, all.overruled)
    }

    #[test]
    fn the_most_probable_label_that_all_rows_allow_comes_first() {
        use Lesson::{Is, IsNot};
        assert_eq!(settled(&[]).0, [2, 0, 1]);
        assert_eq!(settled(&[(1, Is(1))]).0, [1, 0, 2]);
        assert_eq!(settled(&[(1, IsNot(2))]).0, [0, 2, 1]);
        assert_eq!(settled(&[(1, IsNot(2)), (2, IsNot(0))]).0, [1, 0, 2]);
        assert_eq!(
            settled(&[(1, IsNot(2)), (2, Is(1))]),
            (vec![1, 0, 2], vec![])
        );
    }

    #[test]
    fn the_oldest_of_rows_that_leave_no_label_holds_no_longer() {
        use Lesson::IsNot;
        let pins = [(1, IsNot(0)), (2, IsNot(1)), (3, IsNot(2))];
        let overruled = vec![Overruled { id: 1, by: 3 }];
        assert_eq!(settled(&pins), (vec![0, 2, 1], overruled));
    }

    #[test]
    fn the_later_of_two_rows_that_contradict_each_other_holds() {
        use Lesson::{Is, IsNot};
        let overruled = [Overruled { id: 1, by: 2 }];
        for (first, second, top) in [
            (Is(2), Is(0), 0),
            (Is(2), IsNot(2), 0),
            (IsNot(2), Is(2), 2),
        ] {
            let (labels, found) = settled(&[(1, first), (2, second)]);
            assert_eq!((labels[0], &found[..]), (top, &overruled[..]));
        }
    }
}
