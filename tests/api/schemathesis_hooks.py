"""What schemathesis is told of this API that no schema can say."""

import io
import json
import os

import schemathesis
from hypothesis import strategies as st
from PIL import Image

FORMATS = ["PNG", "JPEG", "WEBP", "GIF", "AVIF"]
EXISTING = json.loads(os.environ["SCHEMATHESIS_EXISTING"])
"""By the name of a parameter of a path, what exists."""


def picture(colour, side, written):
    content = io.BytesIO()
    Image.new("RGB", (side, side), colour).save(content, written)
    return content.getvalue()


# A picture is no random bytes.
schemathesis.openapi.format(
    "binary",
    st.builds(picture, st.tuples(*[st.integers(0, 255)] * 3), st.integers(8, 64), st.sampled_from(FORMATS)),
)


@schemathesis.hook
def filter_case(context, case):
    """In a form every value is a text: what a schema calls wrong there, a number for a word, arrives as right.

    No schema says that all examples together are five at most, and that one of them is wanted or there are words.
    """
    is_negative = case.meta is not None and case.meta.generation.mode.is_negative
    if case.media_type == "multipart/form-data" and is_negative:
        return False
    given = [each for each in (case.query, case.body) if isinstance(each, dict)]
    steering = {name for each in given for name in each if name in ("like", "unlike", "examples", "box")}
    return is_negative or (len(steering) < 2 and (not steering or any(each.get("q") for each in given)))


@schemathesis.hook
def map_path_parameters(context, path_parameters):
    """Every second time, of something that exists."""
    return {
        name: EXISTING[name] if name in EXISTING and sum(map(ord, str(value))) % 2 else value
        for name, value in (path_parameters or {}).items()
    }
