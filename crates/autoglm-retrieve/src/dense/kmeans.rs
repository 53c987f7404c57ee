//! Groups of vectors by k-means on two levels: some coarse groups, each parted into fine ones. A
//! vector then looks for its group among the fine ones of the nearest coarse ones, not among all.

use std::num::NonZeroUsize;

use super::dot;

/// Passes of k-means over its sample. Later ones move centres by little.
const PASSES: usize = 6;
/// Coarse groups in which the nearest fine one is looked for.
const COARSE_LOOKED_AT: usize = 4;

/// Centres of groups.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Tree {
    width: usize,
    /// All fine centres, one after the other.
    fine: Vec<f32>,
    coarse: Vec<f32>,
    /// The fine centres of each coarse one.
    children: Vec<Vec<usize>>,
}

/// Parts a sample of unit vectors, one after the other in one list, into about so many groups.
pub(crate) fn tree(sample: &[f32], width: usize, groups: usize, threads: NonZeroUsize) -> Tree {
    let coarse_count = (groups as f64).sqrt().ceil().max(1.0) as usize;
    let coarse = kmeans(sample, width, coarse_count, threads);
    let members = assign(sample, width, &coarse, threads);
    let count = sample.len() / width;
    let mut fine = Vec::new();
    for group in 0..coarse.len() / width {
        let part: Vec<f32> = (0..count)
            .filter(|n| members[*n] == group)
            .flat_map(|n| row(sample, width, n).iter().copied())
            .collect();
        // Large groups are parted into more.
        let share = (part.len() / width * groups).div_ceil(count.max(1)).max(1);
        fine.extend(kmeans(&part, width, share, threads));
    }
    Tree::of(fine, width)
}

impl Tree {
    /// A tree over centres: coarse ones are found anew, so that only the fine ones are kept.
    pub(crate) fn of(fine: Vec<f32>, width: usize) -> Self {
        let count = fine.len() / width.max(1);
        let coarse_count = (count as f64).sqrt().ceil() as usize;
        let coarse = kmeans(&fine, width, coarse_count, NonZeroUsize::MIN);
        let members = assign(&fine, width, &coarse, NonZeroUsize::MIN);
        let mut children = vec![Vec::new(); coarse.len() / width.max(1)];
        for (child, parent) in members.into_iter().enumerate() {
            children[parent].push(child);
        }
        Self {
            width,
            fine,
            coarse,
            children,
        }
    }

    /// The centres of groups, one after the other.
    pub(crate) fn centres(&self) -> impl Iterator<Item = &[f32]> {
        self.fine.chunks_exact(self.width.max(1))
    }

    /// The nearest group, looked for in the nearest coarse ones.
    pub(crate) fn group_of(&self, vector: &[f32]) -> Option<usize> {
        let coarse = ranked(
            vector,
            self.coarse.chunks_exact(self.width.max(1)).enumerate(),
        );
        let near = coarse.iter().take(COARSE_LOOKED_AT);
        let children = near.flat_map(|(parent, _)| &self.children[*parent]);
        let rows = children.map(|child| (*child, row(&self.fine, self.width, *child)));
        let products = rows.map(|(child, centre)| (child, dot(vector, centre)));
        products
            .max_by(|a, b| a.1.total_cmp(&b.1))
            .map(|(child, _)| child)
    }

    /// All groups with their centres' products, the nearest first.
    pub(crate) fn ranked(&self, vector: &[f32]) -> Vec<(usize, f32)> {
        ranked(vector, self.centres().enumerate())
    }
}

fn ranked<'a>(vector: &[f32], rows: impl Iterator<Item = (usize, &'a [f32])>) -> Vec<(usize, f32)> {
    let mut all: Vec<(usize, f32)> = rows.map(|(n, row)| (n, dot(vector, row))).collect();
    all.sort_by(|a, b| b.1.total_cmp(&a.1));
    all
}

fn row(rows: &[f32], width: usize, n: usize) -> &[f32] {
    &rows[n * width..(n + 1) * width]
}

/// Centres of at most so many groups. Starts from vectors at equal steps through the list, so that
/// the same list gives the same groups.
fn kmeans(rows: &[f32], width: usize, groups: usize, threads: NonZeroUsize) -> Vec<f32> {
    let count = rows.len() / width.max(1);
    let groups = groups.min(count);
    let mut centres: Vec<f32> = (0..groups)
        .flat_map(|n| row(rows, width, n * count / groups).iter().copied())
        .collect();
    for _ in 0..PASSES {
        let members = assign(rows, width, &centres, threads);
        centres = means(rows, width, &members, &centres);
    }
    centres
}

/// The nearest centre of each row.
fn assign(rows: &[f32], width: usize, centres: &[f32], threads: NonZeroUsize) -> Vec<usize> {
    let nearest = |vector: &[f32]| {
        let products = centres
            .chunks_exact(width)
            .map(|centre| dot(vector, centre));
        let best = products.enumerate().max_by(|a, b| a.1.total_cmp(&b.1));
        best.map_or(0, |(n, _)| n)
    };
    let count = rows.len() / width.max(1);
    let share = count.div_ceil(threads.get()).max(1) * width.max(1);
    std::thread::scope(|scope| {
        let workers: Vec<_> = rows
            .chunks(share)
            .map(|part| {
                scope.spawn(move || part.chunks_exact(width).map(nearest).collect::<Vec<_>>())
            })
            .collect();
        let results = workers
            .into_iter()
            .map(|worker| worker.join().expect("no product panics"));
        results.flatten().collect()
    })
}

/// The directions of groups' sums; a group without members stays where it is.
fn means(rows: &[f32], width: usize, members: &[usize], before: &[f32]) -> Vec<f32> {
    let mut sums = vec![0.0_f32; before.len()];
    for (vector, group) in rows.chunks_exact(width).zip(members) {
        for (sum, x) in sums[group * width..(group + 1) * width]
            .iter_mut()
            .zip(vector)
        {
            *sum += x;
        }
    }
    for (sum, before) in sums.chunks_exact_mut(width).zip(before.chunks_exact(width)) {
        let length = dot(sum, sum).sqrt();
        if length > 0.0 {
            for x in sum.iter_mut() {
                *x /= length;
            }
        } else {
            sum.copy_from_slice(before);
        }
    }
    sums
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn vectors_of_one_bundle_are_in_one_group() {
        let bundle = |n: usize| {
            let angle = (n % 3) as f32 * 2.0 + (n as f32 * 0.77).sin() * 0.1;
            [angle.cos(), angle.sin()]
        };
        let sample: Vec<f32> = (0..300).flat_map(bundle).collect();
        let tree = tree(&sample, 2, 3, NonZeroUsize::MIN);
        let groups: Vec<usize> = (0..300).filter_map(|n| tree.group_of(&bundle(n))).collect();
        assert_eq!(groups.len(), 300);
        for (n, group) in groups.iter().enumerate() {
            let centre = tree.centres().nth(*group).unwrap();
            assert!(dot(centre, &bundle(n)) > 0.95, "{n}");
        }
        assert_eq!(tree.ranked(&bundle(0))[0].0, groups[0]);
    }
}
