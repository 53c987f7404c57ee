use super::*;
use crate::test_data::{assert_near, bits, pool, values};

/// The argument of the sigmoid.
fn argument(activation: GateActivation, x: f64) -> f64 {
    match activation {
        GateActivation::Silu => x,
        GateActivation::GeluTanh => {
            2.0 * (2.0 / std::f64::consts::PI).sqrt() * (x + 0.044715 * x.powi(3))
        }
    }
}

fn exact(activation: GateActivation, gate: f64) -> f64 {
    match activation {
        GateActivation::Silu => gate / (1.0 + (-gate).exp()),
        GateActivation::GeluTanh => 0.5 * gate * (1.0 + (argument(activation, gate) / 2.0).tanh()),
    }
}

fn check(activation: GateActivation, gate: &[f32], up: &[f32]) {
    let pairs = || {
        gate.iter()
            .zip(up)
            .map(|(g, u)| (f64::from(*g), f64::from(*u)))
    };
    let exacts: Vec<f64> = pairs().map(|(g, u)| exact(activation, g) * u).collect();
    let bound = |((g, u), y): ((f64, f64), &f64)| {
        // The tanh of the double-precision definition itself cancels far to the left of zero.
        let relative = 2f64.powi(-20) + argument(activation, g).abs() * 2f64.powi(-22);
        y.abs() * relative + (g * u).abs() * (2f64.powi(-126) + 2f64.powi(-52)) + 1e-45
    };
    let bounds: Vec<f64> = pairs().zip(&exacts).map(bound).collect();
    let mut scalar = gate.to_vec();
    gated_with(Variant::all()[0], &pool(1), activation, &mut scalar, up);
    assert_near(&scalar, &exacts, &bounds);
    for variant in Variant::all() {
        for threads in [1, 3] {
            let mut found = gate.to_vec();
            gated_with(variant, &pool(threads), activation, &mut found, up);
            assert_eq!(bits(&found), bits(&scalar), "{activation:?}, {variant:?}");
        }
    }
}

#[test]
fn gates_are_near_the_definition_at_every_length_and_equal_in_all_variants() {
    for activation in [GateActivation::Silu, GateActivation::GeluTanh] {
        for len in (0..=130).chain([20_000, 30_007]) {
            let gate: Vec<f32> = values(1, len).iter().map(|x| x * 8.0).collect();
            check(activation, &gate, &values(2, len));
        }
    }
}

#[test]
fn large_gates_pass_or_close() {
    let gate = [
        -1e30, -1e4, -200.0, -90.0, -88.0, -20.0, -0.0, 0.0, 20.0, 90.0, 200.0, 1e4, 1e30,
    ];
    for activation in [GateActivation::Silu, GateActivation::GeluTanh] {
        let mut found = gate;
        gated(&pool(1), activation, &mut found, &[1.0; 13]);
        for (gate, found) in gate.iter().zip(found) {
            let expected = gate.max(0.0);
            assert!(
                (found - expected).abs() <= 1e-7,
                "{activation:?} of {gate} is {found}"
            );
        }
    }
}

#[test]
#[should_panic(expected = "gated: gate and up differ in length")]
fn different_lengths_are_refused() {
    gated(&pool(1), GateActivation::Silu, &mut [0.0; 3], &[0.0; 4]);
}
