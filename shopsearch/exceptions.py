"""Everything that can be raised, drawn as a tree, sorted by who must act.

ShopsearchError
├── QueryError                  the caller's: HTTP 400, never retried
│   ├── EmptyQuery              neither text nor picture
│   ├── FilterError             an unknown filter or a value of the wrong type
│   └── ImageError              a picture that cannot be used
│       ├── ImageTooLarge       more bytes or pixels than the limits allow
│       ├── ImageUnreadable     not a picture, broken, or of a format that is not accepted
│       └── ImageUnavailable    a picture that could not be fetched from its address
└── BackendError                a backend's: HTTP 503, retried with back-off
    ├── Busy                    too many searches to answer in time
    ├── EmbedderError
    ├── VectorStoreError
    ├── RerankerError
    └── DetectorError

A project's own mistakes are Django's ``ImproperlyConfigured``, outside this tree, so that no handler of search
errors can swallow them.
"""

from __future__ import annotations

from typing import ClassVar

from django.apps import apps
from django.utils.translation import gettext


def gettext_noop(message: str) -> str:
    """The same sentence, marked for translation. Django's own function needs the project's settings, which a process
    that decodes pictures has not.
    """
    return message


_ = gettext_noop


class ShopsearchError(Exception):
    """The root; do not raise it. The default message is ``default``, or the first line of the class's docstring."""

    code = "error"
    """For programs to branch on; stable, lower case."""

    def __init__(self, message: str = "") -> None:
        super().__init__(message or (self.__doc__ or "").strip().splitlines()[0])


class QueryError(ShopsearchError):
    """The search request cannot be answered as it stands.

    ``str`` of it is in the language that is active then, and in English where Django is not set up. A message may have
    ``%(name)s`` in it, and its values by name: then a process that has no language may hand it on.
    """

    code = "invalid"
    default: ClassVar[str] = _("The search request cannot be answered as it stands.")

    def __init__(self, message: str = "", **values: object) -> None:
        self.message = message or self.default
        self.values = values
        super().__init__(self.message)

    def __str__(self) -> str:
        said = gettext(self.message) if apps.ready else self.message
        return said % self.values if self.values else said


class EmptyQuery(QueryError):
    """Neither words nor a picture."""

    code = "empty_query"
    default = _("Type some words or add a picture to search for.")


class FilterError(QueryError):
    """An unknown filter, or a value of the wrong type."""

    code = "invalid_filter"
    default = _("The filter is not one of this shop's, or its value is of the wrong type.")


class ImageError(QueryError):
    """A picture that cannot be used."""

    code = "invalid_image"
    default = _("The picture cannot be used.")


class ImageTooLarge(ImageError):
    """A picture of more bytes or pixels than the limits allow."""

    code = "image_too_large"
    default = _("The picture is too large; use a smaller one.")


class ImageUnreadable(ImageError):
    """A file that is no picture, broken, or of a format that is not accepted."""

    code = "image_unreadable"
    default = _("The file is not a picture that can be read; use a JPEG, PNG, WebP or GIF file.")


class ImageUnavailable(ImageError):
    """A picture that could not be fetched from its address."""

    code = "image_unavailable"
    default = _("No picture could be fetched from that address; check it, or send the picture as a file.")

    def __init__(
        self,
        message: str = "",
        *,
        reason: str = "",
        may_pass: bool = False,
        retry_after_seconds: float | None = None,
    ) -> None:
        super().__init__(message)
        self.reason = reason
        """For the log only: in an answer it would tell strangers about the shop's own network."""
        self.may_pass = may_pass
        """Whether another try may succeed."""
        self.retry_after_seconds = retry_after_seconds
        """The server's Retry-After; None if it sent none."""


class BackendError(ShopsearchError):
    """Search is away for the moment; try again shortly."""

    code = "unavailable"
    retry_after_seconds = 5


class Busy(BackendError):
    """Too many searches to answer in time."""

    code = "busy"
    retry_after_seconds = 2

    def __init__(self, message: str = "") -> None:
        super().__init__(message or _("Too many are searching at the moment; try again in a few seconds."))


class EmbedderError(BackendError):
    """The embedder cannot answer at the moment; try again shortly."""

    code = "embedder_unavailable"


class VectorStoreError(BackendError):
    """The vector store cannot be reached at the moment; try again shortly."""

    code = "vector_store_unavailable"


class DetectorError(BackendError):
    """The detector cannot answer at the moment; try again shortly."""

    code = "detector_unavailable"


class RerankerError(BackendError):
    """The reranker cannot answer at the moment; the results keep their order."""

    code = "reranker_unavailable"
