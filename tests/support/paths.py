"""Where things lie: the checkout, what was built, and the data the tests may use."""

import os
import pathlib

ROOT = pathlib.Path(__file__).resolve().parents[2]
# Another folder of built programs and plugins, such as target/debug.
BUILT = pathlib.Path(os.environ.get("GST_NEURAL_BUILT", ROOT / "target" / "release"))
PROGRAM = BUILT / "gst-neural"
# The S3 server of the tests, which `cargo test` builds: a release build is not spent on it.
RIG = ROOT / "target" / "debug" / "s3-rig"
MODELS = ROOT / "models"
MEDIA = ROOT / "examples" / "media"
ROOFTOP = MEDIA / "rooftop_360p.mp4"
WATER = MEDIA / "water_360p.mp4"
WORK = ROOT / "build" / "tests"


def data_folder() -> pathlib.Path | None:
    """Third-party clips, images and models that are not part of the project.

    `GST_NEURAL_DATA` names the folder; else `shared/data` in or beside the checkout.
    """
    named = os.environ.get("GST_NEURAL_DATA")
    if named:
        folder = pathlib.Path(named)
        if not folder.is_dir():
            raise SystemExit(f"GST_NEURAL_DATA={named} is no folder")
        return folder
    for base in (ROOT, *ROOT.parents[:2]):
        folder = base / "shared" / "data"
        if folder.is_dir():
            return folder
    return None


DATA = data_folder()
