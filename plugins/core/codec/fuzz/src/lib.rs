//! What the fuzz targets and their first inputs share.

use std::sync::{Arc, LazyLock};

use gstneural_codec::nets::{Model, Sizes};

/// Small networks and codebooks with invented weights.
pub fn model() -> Arc<Model> {
    static MODEL: LazyLock<(Arc<Model>, Vec<u8>)> = LazyLock::new(synthetic);
    MODEL.0.clone()
}

/// The file of [`model`].
pub fn model_file() -> Vec<u8> {
    synthetic().1
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
