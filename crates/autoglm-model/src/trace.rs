//! Hidden states on their way through the layers.

use autoglm_kernel::Pool;

use crate::block::Workspace;
use crate::model::{Model, gather};

impl Model {
    /// The hidden states of a row of a traced step, from the middle of the layers to the last. The
    /// last is as an output head reads it, the others are as they stand in the residual stream; a
    /// shallow model has fewer.
    ///
    /// # Shapes
    /// `row` of the last forward pass, result `[D, C]`, D at most 4.
    pub fn traced_states(
        &self,
        pool: &Pool,
        workspace: &mut Workspace,
        row: usize,
    ) -> Vec<Vec<f32>> {
        let width = self.config().width;
        let of_row = |trace: &Vec<f32>| trace[row * width..(row + 1) * width].to_vec();
        let mut states: Vec<Vec<f32>> = workspace.traces.iter().map(of_row).collect();
        states.push(self.hidden_states(pool, workspace, &[row]).to_vec());
        states
    }
}

impl Workspace {
    /// Keeps what the residual stream of these rows is now.
    pub(crate) fn trace(&mut self, width: usize, indices: &[usize]) {
        let mut trace = Vec::new();
        gather(&self.hidden, width, indices, &mut trace);
        self.traces.push(trace);
    }
}

/// The layers behind which rows are traced: at a half, two thirds and five sixths of the depth.
pub(crate) fn traced_layers(layers: usize) -> Vec<usize> {
    let behind = [layers * 3 / 6, layers * 4 / 6, layers * 5 / 6];
    let mut traced: Vec<usize> = behind.iter().filter_map(|n| n.checked_sub(1)).collect();
    traced.dedup();
    traced
}

#[cfg(test)]
mod tests {
    use super::traced_layers;

    #[test]
    fn rows_are_traced_from_the_middle_on_and_not_behind_the_last_layer() {
        assert_eq!(traced_layers(18), [8, 11, 14]);
        assert_eq!(traced_layers(40), [19, 25, 32]);
        assert_eq!(traced_layers(3), [0, 1]);
        assert_eq!(traced_layers(2), [0]);
        assert!(traced_layers(1).is_empty());
    }
}
