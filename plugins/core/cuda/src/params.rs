//! What kernels take: twins of the structures in `kernels/*.cu*`, field by field.

use gstneural_pixels::Coefficients;

/// A component of a frame in device memory.
#[derive(Debug, Clone, Copy, Default)]
#[repr(C)]
pub(crate) struct Comp {
    pub data: u64,
    pub pitch: u32,
    pub width: u32,
    pub height: u32,
    pub bytes: u32,
    pub step: u32,
    pub shift: u32,
    pub max: u32,
    pub unused: u32,
}

/// One image of a tensor, seen through depth-to-space.
#[derive(Debug, Clone, Copy, Default)]
#[repr(C)]
pub(crate) struct Tensor {
    pub data: u64,
    pub channel: i64,
    pub sub: i64,
    pub row: u32,
    pub col: u32,
    pub block: u32,
    pub element: u32,
}

/// A filter along one axis.
#[derive(Debug, Clone, Copy, Default)]
#[repr(C)]
pub(crate) struct Taps {
    pub starts: u64,
    pub weights: u64,
    pub taps: u32,
    pub outputs: u32,
}

pub(crate) const NO_COLOR: Coefficients = Coefficients {
    y_gain: 0.0,
    y_bias: 0.0,
    neutral: 0.0,
    r_v: 0.0,
    g_u: 0.0,
    g_v: 0.0,
    b_u: 0.0,
    kr: 0.0,
    kg: 0.0,
    kb: 0.0,
    y_scale: 0.0,
    y_black: 0.0,
    u_scale: 0.0,
    v_scale: 0.0,
};

/// A kernel's argument: plain data with the layout of the kernel's own.
///
/// # Safety
/// The type must have the layout of the structure that the kernels it is launched with take.
pub(crate) unsafe trait Params {}

macro_rules! params {
    ($($(#[$doc:meta])* $name:ident { $($field:ident: $type:ty,)* })*) => { $(
        $(#[$doc])*
        #[derive(Debug, Clone, Copy)]
        #[repr(C)]
        pub(crate) struct $name { $(pub $field: $type,)* }
        // SAFETY: field by field the structure of that name in kernels/*.cu.
        unsafe impl Params for $name {}
    )* };
}

params! {
    /// load.cu
    Load {
        src: [Comp; 3],
        dst: Tensor,
        color: Coefficients,
        across: Taps,
        down: Taps,
        x: i32,
        y: i32,
        w: u32,
        h: u32,
        channels: u32,
        order: [u32; 3],
        scale: f32,
        white: f32,
    }
    /// store.cu
    Store {
        src: Tensor,
        dst: [Comp; 3],
        color: Coefficients,
        across: Taps,
        down: Taps,
        from_x: u32,
        from_y: u32,
        to_x: u32,
        to_y: u32,
        w: u32,
        h: u32,
        order: [u32; 3],
        scale: f32,
        bias: f32,
        inverse: f32,
        unused: u32,
    }
    /// store.cu
    Gather {
        src: Tensor,
        dst: Tensor,
        across: u64,
        down: u64,
        from_x: u32,
        from_y: u32,
        to_x: u32,
        to_y: u32,
        w: u32,
        h: u32,
        from_channel: u32,
        to_channel: u32,
    }
    /// post.cu
    Post {
        dst: [Comp; 4],
        src: [Comp; 4],
        across: Taps,
        down: Taps,
        color: Coefficients,
        x: u32,
        y: u32,
        w: u32,
        h: u32,
        weight: f32,
        scale: f32,
        value: u32,
        unused: u32,
    }
    /// post.cu
    Differs {
        a: u64,
        b: u64,
        flags: u64,
        areas: u64,
        pitch_a: u32,
        pitch_b: u32,
    }
    /// post.cu
    Inspect {
        data: u64,
        result: u64,
        count: u64,
        element: u32,
        unused: u32,
    }
    /// stabilize.cu
    Stabilize {
        input: [Comp; 3],
        classical: [Comp; 3],
        out: [Comp; 3],
        previous: u64,
        difference: u64,
        total: u64,
        state: u64,
        weights: u64,
        amount: f32,
        share: f32,
        to_unit: f32,
        from_unit: f32,
        scene_cut: u32,
        components: u32,
    }
    /// nets.cu
    Dense {
        x: [u64; 2],
        weights: u64,
        bias: u64,
        out: u64,
        add: u64,
        inputs: [u32; 2],
        outputs: u32,
        positions: u32,
        columns: u32,
        shuffle: u32,
        shift: u32,
        low: i32,
    }
    /// nets.cu
    Depthwise {
        x: u64,
        weights: u64,
        bias: u64,
        out: u64,
        channels: u32,
        columns: u32,
        rows: u32,
        slice: u32,
        shift: u32,
        unused: u32,
    }
    /// nets.cu
    Ends {
        planes: [Comp; 3],
        latents: u64,
        steps: u64,
        x: u64,
        direct: u64,
        prediction: u64,
        channels: u32,
        count: u32,
        columns: u32,
        unused: u32,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kernels::MODULES;

    /// Bytes that a kernel takes, as its PTX says.
    fn size_in(ptx: &str, kernel: &str) -> usize {
        let mark = format!("{kernel}_param_0[");
        let at = ptx.find(&mark).unwrap() + mark.len();
        ptx[at..].split(']').next().unwrap().parse().unwrap()
    }

    #[test]
    fn structures_are_as_large_as_the_kernels_say() {
        let mut seen = 0;
        for (ptx, names) in MODULES {
            for name in *names {
                let name = name.to_str().unwrap();
                let size = match name {
                    n if n.starts_with("load_") => size_of::<Load>(),
                    n if n.starts_with("store_") => size_of::<Store>(),
                    "gather" | "gather_weighted" => size_of::<Gather>(),
                    "differs" => size_of::<Differs>(),
                    "inspect" => size_of::<Inspect>(),
                    "motion" | "smooth" => size_of::<Stabilize>(),
                    "dense" => size_of::<Dense>(),
                    "depthwise" => size_of::<Depthwise>(),
                    "dequantise" | "positions_of_samples" | "samples_of_positions" => {
                        size_of::<Ends>()
                    }
                    _ => size_of::<Post>(),
                };
                assert_eq!(size_in(ptx, name), size, "{name}");
                seen += 1;
            }
            assert_eq!(ptx.matches(".visible .entry").count(), names.len());
        }
        assert_eq!(
            seen,
            crate::kernels::Kernel::SamplesOfPositions as usize + 1
        );
    }

    #[test]
    fn nothing_is_fused_or_flushed() {
        for (ptx, _) in MODULES {
            assert!(ptx.ends_with('\0') && ptx.contains(".target sm_75"));
            let float = ptx.contains("mul.rn.f32");
            assert!(
                float != ptx.contains("dequantise"),
                "floating point where none belongs"
            );
            for line in ptx.lines().map(str::trim) {
                // Without .rn the driver's compiler may contract a product and a sum.
                let loose = ["mul.f32", "add.f32", "sub.f32", "fma."];
                assert!(!loose.iter().any(|l| line.starts_with(l)), "{line}");
                assert!(!line.contains(".ftz"), "{line}");
            }
        }
    }
}
