//! Vectors in 8 bits a number with one scale: a quarter of the memory, and near enough to find the
//! candidates whose products are then computed in full.

/// The bytes of a vector: its scale as an `f32`, then a signed byte a number.
pub(crate) fn encode(vector: &[f32]) -> Vec<u8> {
    let largest = vector.iter().fold(0.0_f32, |most, x| most.max(x.abs()));
    let scale = largest / 127.0;
    let invert = if scale > 0.0 { scale.recip() } else { 0.0 };
    let codes = vector.iter().map(|x| ((x * invert).round() as i8) as u8);
    scale.to_le_bytes().into_iter().chain(codes).collect()
}

/// A vector to which codes are compared.
pub(crate) struct Query {
    codes: Vec<i16>,
    scale: f32,
}

impl Query {
    pub(crate) fn new(vector: &[f32]) -> Self {
        let bytes = encode(vector);
        let (scale, codes) = parts(&bytes);
        Self {
            codes: codes.iter().map(|code| i16::from(*code as i8)).collect(),
            scale,
        }
    }

    /// About the product of the query and the vector that was encoded; nothing where it is of
    /// another length.
    pub(crate) fn product(&self, code: &[u8]) -> Option<f32> {
        let (scale, codes) = parts(code);
        if codes.len() != self.codes.len() {
            return None;
        }
        let mut sum = 0_i32;
        for (query, code) in self.codes.iter().zip(codes) {
            sum += i32::from(*query) * i32::from(*code as i8);
        }
        Some(sum as f32 * self.scale * scale)
    }
}

fn parts(bytes: &[u8]) -> (f32, &[u8]) {
    match bytes.split_first_chunk::<4>() {
        Some((scale, codes)) => (f32::from_le_bytes(*scale), codes),
        None => (0.0, &[]),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dense::dot;

    #[test]
    fn products_of_codes_are_near_the_real_ones() {
        let vector =
            |seed: f32| -> Vec<f32> { (0..384).map(|n| (n as f32 * seed).sin() / 13.9).collect() };
        for n in 1..20 {
            let (a, b) = (vector(0.37), vector(n as f32 * 0.11));
            let found = Query::new(&a).product(&encode(&b)).unwrap();
            // Half a step of each number: 384 of at most 1/127 · 1/13.9 · 1/13.9, twice.
            assert!((found - dot(&a, &b)).abs() < 0.016, "{n}: {found}");
        }
        assert_eq!(Query::new(&vector(0.1)).product(&[0; 9]), None);
    }
}
