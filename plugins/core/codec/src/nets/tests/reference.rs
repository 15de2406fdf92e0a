//! The networks once more, as their specification reads: whole layers one after the other, numbers
//! of 64 bits, straight from the tensors of the file.

use std::ops::Range;

use super::super::{
    AnalysisWorkspace, HYPER, HyperAnalysisWorkspace, HyperWorkspace, Kernels, Kind, LEVELS, Level,
    Model, SynthesisWorkspace,
    conformance::{FORMAT, Xorshift},
    file::{self, Section},
};
use super::nets::{SMALL, picture, spread};
use crate::Picture;

/// Activations `[rows][columns][channels]`.
#[derive(Clone)]
struct Grid {
    size: [usize; 3],
    values: Vec<i64>,
}

impl Grid {
    fn new(size: [usize; 3], f: impl Fn([usize; 3]) -> i64) -> Self {
        let [rows, columns, channels] = size;
        let mut values = Vec::new();
        for r in 0..rows {
            for c in 0..columns {
                values.extend((0..channels).map(|k| f([r, c, k])));
            }
        }
        Self { size, values }
    }

    /// A value, or 0 beyond the edges.
    fn at(&self, r: isize, c: isize, k: usize) -> i64 {
        let [rows, columns, channels] = self.size;
        let inside = (0..rows as isize).contains(&r) && (0..columns as isize).contains(&c);
        match inside {
            true => self.values[(r as usize * columns + c as usize) * channels + k],
            false => 0,
        }
    }

    fn map(&self, f: impl Fn(i64, [usize; 3]) -> i64) -> Self {
        Self::new(self.size, |[r, c, k]| {
            f(self.at(r as isize, c as isize, k), [r, c, k])
        })
    }

    fn shuffled(&self) -> Self {
        let [rows, columns, channels] = self.size;
        let n = channels / 4;
        Self::new([2 * rows, 2 * columns, n], |[r, c, k]| {
            let channel = (2 * (r % 2) + c % 2) * n + k;
            self.at(r as isize / 2, c as isize / 2, channel)
        })
    }

    fn grouped(&self) -> Self {
        let [rows, columns, n] = self.size;
        let size = [rows.div_ceil(2), columns.div_ceil(2), 4 * n];
        Self::new(size, |[r, c, k]| {
            let (i, j) = (k / n / 2, k / n % 2);
            self.at((2 * r + i) as isize, (2 * c + j) as isize, k % n)
        })
    }

    /// The channels of both.
    fn with(&self, other: &Self) -> Self {
        let [rows, columns, n] = self.size;
        Self::new([rows, columns, n + other.size[2]], |[r, c, k]| {
            let (r, c) = (r as isize, c as isize);
            if k < n {
                self.at(r, c, k)
            } else {
                other.at(r, c, k - n)
            }
        })
    }

    fn plus(&self, other: &Self) -> Self {
        self.map(|v, [r, c, k]| clip(v + other.at(r as isize, c as isize, k)))
    }

    fn cropped(&self, rows: usize, columns: usize) -> Self {
        Self::new([rows, columns, self.size[2]], |[r, c, k]| {
            self.at(r as isize, c as isize, k)
        })
    }
}

fn clip(v: i64) -> i64 {
    v.clamp(-2047, 2047)
}

struct Nets<'a> {
    section: Section<'a>,
    kind: &'static str,
    level: usize,
}

impl Nets<'_> {
    /// Weights, biases of the level, shift.
    fn layer(&self, name: &str, dims: [usize; 2], outputs: usize) -> (Vec<i16>, Vec<i32>, u8) {
        let name = format!("{}.{name}", self.kind);
        let s = &self.section;
        let weights = s.values(&format!("{name}.w"), &dims).unwrap();
        let bias = format!("{name}.b");
        let bias = s.values(&bias, &[outputs]).unwrap_or_else(|_| {
            let all: Vec<i32> = s.values(&bias, &[LEVELS, outputs]).unwrap();
            all[self.level * outputs..][..outputs].to_vec()
        });
        (weights, bias, s.scalar(&format!("{name}.s")).unwrap())
    }

    fn sums(&self, name: &str, x: &Grid, outputs: usize) -> (Grid, u8) {
        let [rows, columns, n] = x.size;
        let (w, b, s) = self.layer(name, [outputs, n], outputs);
        let sums = Grid::new([rows, columns, outputs], |[r, c, o]| {
            let x = |i| x.at(r as isize, c as isize, i);
            i64::from(b[o]) + (0..n).map(|i| i64::from(w[o * n + i]) * x(i)).sum::<i64>()
        });
        (sums, s)
    }

    fn dense(&self, name: &str, x: &Grid, outputs: usize, low: i64) -> Grid {
        let (sums, s) = self.sums(name, x, outputs);
        sums.map(|v, _| (v >> s).clamp(low, 2047))
    }

    fn depthwise(&self, name: &str, x: &Grid) -> Grid {
        let n = x.size[2];
        let (w, b, s) = self.layer(name, [9, n], n);
        x.map(|_, [r, c, k]| {
            let tap = |t: usize| {
                let (r, c) = (r + t / 3, c + t % 3);
                i64::from(w[t * n + k]) * x.at(r as isize - 1, c as isize - 1, k)
            };
            clip((i64::from(b[k]) + (0..9).map(tap).sum::<i64>()) >> s)
        })
    }

    /// A number of the table `name`, for the level and channel `c`.
    fn number(&self, table: &[i32], c: usize) -> i64 {
        table[self.level * SMALL.latents() + c].into()
    }

    fn table(&self, name: &str) -> Vec<i32> {
        let name = format!("{}.{name}", self.kind);
        self.section
            .values(&name, &[LEVELS, SMALL.latents()])
            .unwrap()
    }

    fn trunk(&self, path: &str, x: &Grid, blocks: usize) -> Grid {
        let mut f = self.dense(&format!("{path}.in"), x, SMALL.features, -2047);
        for n in 0..blocks {
            let name = |layer| format!("{path}.{n}.{layer}");
            let t = self.depthwise(&name("dw"), &f);
            let u = self.dense(&name("up"), &t, SMALL.expanded, 0);
            f = f.plus(&self.dense(&name("down"), &u, SMALL.features, -2047));
        }
        f
    }

    /// Indices and means of each group of a band; `q` are all of its latents.
    fn hyper(&self, z: &Grid, q: &Grid) -> (Vec<i64>, Vec<i64>) {
        let [rows, columns, _] = q.size;
        let h = SMALL.hidden;
        let x = z.map(|v, _| clip(v * 64));
        let x = self.dense("hs.up1", &x, 4 * h, 0).shuffled();
        let x = self.dense("hs.d1", &self.depthwise("hs.dw1", &x), h, 0);
        let x = self.dense("hs.up2", &x, 4 * h, 0).shuffled();
        let x = x.cropped(rows, columns);
        let x = self.dense("hs.d2", &self.depthwise("hs.dw2", &x), h, 0);
        let name = format!("{}.shift", self.kind);
        let shift: Vec<i16> = self
            .section
            .values(&name, &[LEVELS, SMALL.latents()])
            .unwrap();
        let inverse = self.table("inv");
        let shift = |c: usize| i64::from(shift[self.level * SMALL.latents() + c]);
        let (mut f, mut first, mut indices, mut means) = (x, 0, Vec::new(), Vec::new());
        for (n, &size) in SMALL.groups.iter().enumerate() {
            let scale = self.dense(&format!("hs.{n}.scale"), &f, size, -2047);
            let mean = self.dense(&format!("hs.{n}.mean"), &f, size, -2047);
            let index =
                |v: i64, [_, _, c]: [usize; 3]| ((v + shift(first + c) + 8) >> 4).clamp(0, 47);
            let mean8 = |v: i64, [_, _, c]: [usize; 3]| {
                ((v * self.number(&inverse, first + c) + 2048) >> 12).clamp(-16383, 16383)
            };
            indices.extend(scale.map(index).values);
            means.extend(mean.map(mean8).values);
            if n + 1 < SMALL.groups.len() {
                let a = Grid::new([rows, columns, size], |[r, c, k]| {
                    (q.at(r as isize, c as isize, first + k).abs() * 128).min(2047)
                });
                let t = self.depthwise(&format!("hs.{n}.dw"), &a);
                f = self.dense(&format!("hs.{n}.mix"), &f.with(&a).with(&t), h, 0);
            }
            first += size;
        }
        (indices, means)
    }

    /// Samples as activations.
    fn synthesis(&self, q: &Grid, p: Option<&Grid>) -> Grid {
        let step = self.table("step");
        let y = q.map(|v, [_, _, c]| clip((v * self.number(&step, c) + 8) >> 4));
        let r0 = self.dense("gs.lin", &y, 384, -2047).shuffled();
        let x = p.map_or(r0.clone(), |p| r0.with(p));
        let o = self.dense("gs.out", &self.trunk("gs", &x, SMALL.blocks), 96, -2047);
        o.map(|v, [r, c, k]| {
            let at = |g: &Grid| g.at(r as isize, c as isize, k);
            ((p.map_or(0, at) + at(&r0) + v + 1028) >> 3).clamp(0, 255)
        })
    }

    fn analysis(&self, x: &Grid, p: Option<&Grid>) -> Grid {
        let at = |g: &Grid, [r, c, k]: [usize; 3]| g.at(r as isize, c as isize, k);
        let d = x.map(|v, i| clip(v - p.map_or(0, |p| at(p, i))));
        let (direct, a) = self.sums("ga.lin", &d.grouped(), SMALL.latents());
        let x = p.map_or(x.clone(), |p| x.with(p));
        let f = self.trunk("ga", &x, SMALL.encoder_blocks.unwrap());
        let (out, b) = self.sums("ga.out", &f.grouped(), SMALL.latents());
        let unit = |v: i64, s: u8| (v * 64 + (1 << s >> 1)) >> s;
        direct.map(|v, i| unit(v, a) + unit(at(&out, i), b))
    }

    fn hyper_analysis(&self, y: &Grid) -> Grid {
        let h = SMALL.hidden;
        let y = y.map(|v, _| clip((v + 32) >> 6));
        let x = self.depthwise("ha.dw1", &self.dense("ha.d0", &y, h, 0));
        let x = self.dense("ha.d1", &x, h, 0).grouped();
        let x = self.dense("ha.down1", &x, h, 0).grouped();
        let v = self.dense("ha.down2", &x, HYPER, -2047);
        v.map(|v, _| (v + 32) >> 6)
    }
}

/// Activations of a picture, continued by its last rows and columns.
fn activations(picture: &Picture) -> Grid {
    let side = |n: u32| 2 * (n as usize).div_ceil(16);
    let size = [side(picture.format.height), side(picture.format.width), 96];
    Grid::new(size, |[r, c, k]| {
        8 * i64::from(*sample(picture, [r, c, k]).0) - 1024
    })
}

/// The sample of a channel of a position, and whether it lies inside the picture.
fn sample(picture: &Picture, [r, c, k]: [usize; 3]) -> (&u16, bool) {
    let (plane, side, i) = match k {
        0..64 => (0, 8, k),
        64..80 => (1, 4, k - 64),
        _ => (2, 4, k - 80),
    };
    let plane = &picture.planes[plane];
    let (x, y) = (c * side + i % side, r * side + i / side);
    let inside = x < plane.width && y < plane.height;
    let sample = &plane.row(y.min(plane.height - 1))[x.min(plane.width - 1)];
    (sample, inside)
}

#[test]
fn networks_are_what_the_specification_says() {
    let (model, bytes) = Model::synthetic(8, SMALL).unwrap();
    let (decoder, encoder) = file::sections(&bytes).unwrap();
    let kernels = Kernels::best();
    let mut random = Xorshift(Xorshift::START);
    for (kind, level) in Kind::ALL.into_iter().zip([3, 30]) {
        let nets = |bytes| Nets {
            section: Section::parse(bytes).unwrap(),
            kind: kind.name(),
            level,
        };
        let (to, from) = (nets(encoder), nets(decoder));
        let level = Level::new(level as u8).unwrap();
        let source = picture(&mut random, FORMAT.width, FORMAT.height);
        let other = picture(&mut random, FORMAT.width, FORMAT.height);
        let prediction = (kind == Kind::Inter).then_some(&other);
        let p = prediction.map(activations);
        let size = [5, 6];
        let n = 5 * 6 * SMALL.latents();

        let mut y = vec![0; n];
        let encoder = model.encoder(kind).unwrap();
        let mut workspace = AnalysisWorkspace::default();
        let w = &mut workspace;
        encoder
            .analyse(&kernels, level, &source, prediction, &mut y, w)
            .unwrap();
        let want = to.analysis(&activations(&source), p.as_ref());
        assert!(
            y.iter()
                .map(|&v| i64::from(v))
                .eq(want.values.iter().copied())
        );

        let mut z = vec![0; 2 * 2 * HYPER];
        let mut workspace = HyperAnalysisWorkspace::default();
        let w = &mut workspace;
        encoder
            .hyper_analyse(&kernels, level, size, &y, &mut z, w)
            .unwrap();
        let want = to.hyper_analysis(&want);
        assert!(
            z.iter()
                .map(|&v| i64::from(v))
                .eq(want.values.iter().copied())
        );

        let q: Vec<i16> = y.iter().map(|&y| (y >> 8) as i16).collect();
        let decoder = model.decoder(kind).unwrap();
        let mut workspace = HyperWorkspace::default();
        let w = &mut workspace;
        let (index, mean8) = spread(decoder, &kernels, level, size, &z, &q, w);
        let all = |rows: Range<usize>, from: &[i64], columns: usize, n: usize| {
            let start = rows.start * columns * n;
            let size = [rows.len(), columns, n];
            let values = from[start..start + size.iter().product::<usize>()].to_vec();
            Grid { size, values }
        };
        let wide: Vec<i64> = q.iter().map(|&v| v.into()).collect();
        let (mut indices, mut means) = (Vec::new(), Vec::new());
        for (band, rows) in [0..4, 4..5].into_iter().enumerate() {
            let z = all(band..band + 1, &want.values, 2, HYPER);
            let (i, m) = from.hyper(&z, &all(rows, &wide, 6, SMALL.latents()));
            indices.extend(i);
            means.extend(m);
        }
        assert!(index.iter().map(|&v| i64::from(v)).eq(indices));
        assert!(mean8.iter().map(|&v| i64::from(v)).eq(means));

        let mut out = Picture::grey(FORMAT);
        let mut workspace = SynthesisWorkspace::default();
        let w = &mut workspace;
        decoder
            .synthesise(&kernels, level, &q, prediction, &mut out, w)
            .unwrap();
        let q = Grid {
            size: [5, 6, SMALL.latents()],
            values: q.iter().map(|&v| v.into()).collect(),
        };
        let want = from.synthesis(&q, p.as_ref());
        want.map(|v, i| {
            let (&found, inside) = sample(&out, i);
            assert!(!inside || i64::from(found) == v, "{i:?}");
            v
        });
        let mut values: Vec<u16> = out.planes.into_iter().flat_map(|p| p.samples).collect();
        values.sort_unstable();
        values.dedup();
        assert!(values.len() > 100, "only {} values", values.len());
    }
}
