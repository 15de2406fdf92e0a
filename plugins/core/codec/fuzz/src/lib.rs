//! What the fuzz targets and their first inputs share.

use std::sync::{Arc, LazyLock};

use gstneural_codec::nets::{Model, Sizes};

/// Luma samples of the greatest frame that is decoded: room for two slices. More takes time and reaches
/// nothing new.
pub const MAX_SAMPLES: u64 = 1 << 11;

/// Small networks and codebooks with invented weights.
pub fn model() -> Arc<Model> {
    static MODEL: LazyLock<(Arc<Model>, Vec<u8>)> = LazyLock::new(synthetic);
    MODEL.0.clone()
}

/// The file of [`model`].
pub fn model_file() -> Vec<u8> {
    synthetic().1
}

/// The smallest file of a model that has all kinds of tensors which a decoder needs, for one kind of
/// picture.
pub fn smallest_model_file() -> Vec<u8> {
    let sizes = Sizes {
        groups: &[4, 4],
        hidden: 1,
        features: 1,
        expanded: 1,
        blocks: 1,
        encoder_blocks: None,
        inter: false,
    };
    Model::synthetic_vq(2026, sizes).expect("the sizes are right").1
}

fn synthetic() -> (Arc<Model>, Vec<u8>) {
    let sizes = Sizes {
        groups: &[4, 4],
        hidden: 4,
        features: 4,
        expanded: 6,
        blocks: 1,
        encoder_blocks: Some(1),
        inter: true,
    };
    let (model, file) = Model::synthetic_vq(2026, sizes).expect("the sizes are right");
    (Arc::new(model), file)
}
