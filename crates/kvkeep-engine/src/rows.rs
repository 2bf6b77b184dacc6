//! The operations on single rows: norms, rotary embedding, gate, dot products.
//!
//! Each is a plain loop in a fixed order, so its result depends on nothing but its row.

/// Lanes of [`dot`]: independent sums, so that the compiler can use vector registers.
const LANES: usize = 8;

/// `a * b`, summed in eight lanes that are added pairwise at the end.
#[inline]
#[must_use]
pub(crate) fn dot(a: &[f32], b: &[f32]) -> f32 {
    let mut lanes = [0_f32; LANES];
    let (a_chunks, a_rest) = a.as_chunks::<LANES>();
    let (b_chunks, b_rest) = b.as_chunks::<LANES>();
    for (a, b) in a_chunks.iter().zip(b_chunks) {
        for lane in 0..LANES {
            lanes[lane] += a[lane] * b[lane];
        }
    }
    for (lane, (a, b)) in a_rest.iter().zip(b_rest).enumerate() {
        lanes[lane] += a * b;
    }
    let [a, b, c, d, e, f, g, h] = lanes;
    ((a + b) + (c + d)) + ((e + f) + (g + h))
}

/// Adds `row` to `sum`.
pub(crate) fn add(sum: &mut [f32], row: &[f32]) {
    for (sum, row) in sum.iter_mut().zip(row) {
        *sum += row;
    }
}

/// RMSNorm (Zhang, Sennrich 2019) of each run of `weight.len()` elements, in place.
pub(crate) fn rms_norm(rows: &mut [f32], weight: &[f32], eps: f32) {
    for row in rows.chunks_exact_mut(weight.len()) {
        let mean_square = dot(row, row) / row.len() as f32;
        let scale = 1.0 / (mean_square + eps).sqrt();
        for (value, weight) in row.iter_mut().zip(weight) {
            *value = *value * scale * weight;
        }
    }
}

/// SwiGLU (Shazeer 2020): `silu(gate) * up`, into `gate`.
pub(crate) fn swiglu(gate: &mut [f32], up: &[f32]) {
    for (gate, up) in gate.iter_mut().zip(up) {
        *gate = *gate / (1.0 + (-*gate).exp()) * up;
    }
}

/// Rotary position embedding (Su et al. 2021), in the form of Qwen and Llama: element `i`
/// of a head is paired with element `i + head_dim / 2`.
pub(crate) struct Rope {
    /// Radians per position, for each pair.
    frequencies: Vec<f64>,
}

impl Rope {
    /// For heads of `head_dim` elements.
    #[must_use]
    pub(crate) fn new(head_dim: usize, theta: f32) -> Self {
        let frequencies = (0..head_dim / 2)
            .map(|pair| f64::from(theta).powf(-2.0 * pair as f64 / head_dim as f64))
            .collect();
        Rope { frequencies }
    }

    /// Cosine and sine of each pair at a position. In f64: at position 100,000 an f32 angle
    /// would be off by a hundredth.
    #[must_use]
    pub(crate) fn at(&self, position: usize) -> Vec<(f32, f32)> {
        let angle = |frequency: &f64| frequency * position as f64;
        let turn = |angle: f64| (angle.cos() as f32, angle.sin() as f32);
        self.frequencies.iter().map(angle).map(turn).collect()
    }

    /// Turns every head of a row.
    pub(crate) fn turn(row: &mut [f32], turns: &[(f32, f32)]) {
        for head in row.chunks_exact_mut(2 * turns.len()) {
            let (firsts, seconds) = head.split_at_mut(turns.len());
            for ((first, second), (cos, sin)) in firsts.iter_mut().zip(seconds).zip(turns) {
                (*first, *second) = (*first * cos - *second * sin, *second * cos + *first * sin);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dot_takes_every_element_once() {
        for len in 0..40 {
            let ones = vec![1.0; len];
            let counting: Vec<f32> = (0..len).map(|n| n as f32).collect();
            assert_eq!(dot(&ones, &counting), (len * len.saturating_sub(1) / 2) as f32);
        }
    }

    #[test]
    fn norm_worked_by_hand() {
        // Mean square of (3, 4) is 12.5.
        let mut rows = [3.0, 4.0, 0.0, 0.0];
        rms_norm(&mut rows, &[1.0, 2.0], 0.0);
        assert!((rows[0] - 3.0 / 12.5_f32.sqrt()).abs() < 1e-6);
        assert!((rows[1] - 8.0 / 12.5_f32.sqrt()).abs() < 1e-6);
        let mut zeros = [0.0, 0.0];
        rms_norm(&mut zeros, &[1.0, 1.0], 1e-6);
        assert_eq!(zeros, [0.0, 0.0]);
    }

    #[test]
    fn turns_keep_lengths_and_depend_on_distance_only() {
        let rope = Rope::new(8, 100.0);
        let turned = |row: [f32; 8], position| {
            let mut row = row;
            Rope::turn(&mut row, &rope.at(position));
            row
        };
        let (q, k) = ([1.0, -2.0, 0.5, 3.0, 1.5, 0.0, -1.0, 2.0], [0.5; 8]);
        assert_eq!(turned(q, 0), q);
        assert!((dot(&turned(q, 9), &turned(q, 9)) - dot(&q, &q)).abs() < 1e-4);
        let near = dot(&turned(q, 12), &turned(k, 7));
        let far = dot(&turned(q, 1005), &turned(k, 1000));
        assert!((near - far).abs() < 1e-4, "{near} {far}");
        assert!((near - dot(&turned(q, 13), &turned(k, 7))).abs() > 1e-2);
    }

    #[test]
    fn gate_worked_by_hand() {
        // silu(0) = 0; silu(1) = 1 / (1 + 1/e) = 0.731059.
        let mut gate = [0.0, 1.0];
        swiglu(&mut gate, &[5.0, 2.0]);
        assert_eq!(gate[0], 0.0);
        assert!((gate[1] - 1.462_117).abs() < 1e-5);
    }
}
