//! Tensors that a folder keeps apart, expert by expert, and GGUF as one of three dimensions.

use std::collections::BTreeMap;

use super::{Data, Placed};
use crate::error::ModelError;
use crate::gguf::{missing_tensor, printable};

/// The parts that have been found, by the name of the whole and their number in it.
#[derive(Default)]
pub(super) struct Stacks {
    parts: BTreeMap<String, BTreeMap<usize, Placed>>,
}

impl Stacks {
    /// Takes in a part under the name of the whole.
    pub(super) fn add(&mut self, part: usize, tensor: Placed) -> Result<(), ModelError> {
        let name = tensor.name.clone();
        let parts = self.parts.entry(name).or_default();
        match parts.insert(part, tensor) {
            Some(twice) => Err(ModelError::DuplicateTensor {
                tensor: part_name(&twice.name, part),
            }),
            None => Ok(()),
        }
    }

    /// The whole tensors.
    pub(super) fn finish(self) -> Result<Vec<Placed>, ModelError> {
        let stacks = self.parts.into_iter();
        stacks.map(|(name, parts)| stack(name, parts)).collect()
    }
}

/// Puts parts together that are alike and of which none is missing.
fn stack(name: String, parts: BTreeMap<usize, Placed>) -> Result<Placed, ModelError> {
    let (mut data, mut first) = (Vec::with_capacity(parts.len()), None);
    for (expected, (part, tensor)) in parts.into_iter().enumerate() {
        if part != expected {
            return Err(missing_tensor(&part_name(&name, expected)));
        }
        let (format, shape) = first.get_or_insert_with(|| (tensor.format, tensor.shape.clone()));
        if tensor.shape != *shape {
            return Err(ModelError::TensorShape {
                tensor: part_name(&name, part),
                found: tensor.shape,
                wanted: shape.clone(),
            });
        }
        if tensor.format != *format {
            return Err(ModelError::NumberType {
                tensor: part_name(&name, part),
                found: tensor.format.name().to_owned(),
            });
        }
        data.push(tensor.data);
    }
    let (format, mut shape) = first.expect("a stack has a part, which made it");
    shape.insert(0, data.len());
    Ok(Placed {
        name,
        format,
        shape,
        data: Data::Stacked(data),
    })
}

fn part_name(name: &str, part: usize) -> String {
    printable(&format!("{part} of {name}"))
}
