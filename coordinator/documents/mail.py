"""Mail: messages (.eml), mailboxes (.mbox) and pages kept as messages (.mht)."""

import email
import email.policy
import mimetypes
import re
from email.errors import MessageError
from email.message import EmailMessage, MIMEPart
from typing import Any, Final

from coordinator.documents.builder import Builder
from coordinator.documents.encodings import decode
from coordinator.documents.extract import Extract, Part, clean
from coordinator.documents.html import add_html, declared_encoding
from coordinator.errors import DocumentError
from coordinator.types import Gap, GapKind, SectionKind

_HEADERS: Final = ("From", "To", "Cc", "Date", "Subject")
_SEPARATOR: Final = re.compile(rb"(?m)^From [^\n]*\d{4}[^\n]*\r?\n")
MAX_MESSAGES: Final = 100_000


def read_eml(data: bytes) -> Extract:
    builder = Builder()
    _add_message(builder, _parsed(data))
    return builder.extract()


def read_mbox(data: bytes) -> Extract:
    """All messages of a mailbox, in order."""
    starts = [match.end() for match in _SEPARATOR.finditer(data)]
    ends = [match.start() for match in _SEPARATOR.finditer(data)][1:]
    if not starts or data[: starts[0]].count(b"\n") > 1:
        raise DocumentError("it is damaged, or not a mailbox")
    if len(starts) > MAX_MESSAGES:
        raise DocumentError(f"it holds more than {MAX_MESSAGES:,} messages; split it and try again")
    builder = Builder()
    for number, (start, end) in enumerate(zip(starts, [*ends, len(data)], strict=True), 1):
        # Lines that begin with "From " are quoted in a mailbox.
        message = _parsed(re.sub(rb"(?m)^>(>*From )", rb"\1", data[start:end]))
        builder.section(SectionKind.MESSAGE, number, _header(message, "Subject"))
        _add_message(builder, message)
    return builder.extract()


def read_mht(data: bytes) -> Extract:
    """The page of a web archive, without what it shows it with."""
    message = _parsed(data)
    for part in message.walk():
        if part.get_content_type() in ("text/html", "application/xhtml+xml"):
            builder = Builder()
            _add_html(builder, part)
            return builder.extract()
    raise DocumentError("it is damaged, or not a web archive: there is no page in it")


def _parsed(data: bytes) -> EmailMessage:
    message = email.message_from_bytes(data, policy=email.policy.default)
    if not message.keys():
        raise DocumentError("it is damaged, or not a message: it has no header")
    return message


def _add_message(builder: Builder, message: EmailMessage) -> None:
    head = (f"{name}: {value}" for name in _HEADERS if (value := _header(message, name)))
    builder.paragraph("\n".join(head))
    body = _body(message)
    if body is None:
        pass
    elif body.get_content_type() == "text/html":
        _add_html(builder, body)
    else:
        _add_plain(builder, _text(body))
    for part in message.walk():
        kind = part.get_content_type()
        if kind in ("multipart/encrypted", "application/pkcs7-mime", "application/x-pkcs7-mime"):
            builder.gaps.append(
                Gap(GapKind.NOT_READ, "the message is encrypted; save its text from the mail program and try again")
            )
            return
    _add_attachments(builder, message, body)


def _body(message: EmailMessage) -> MIMEPart | None:
    """The part that is the text: the plain one, unless it says next to nothing and the formatted one says more."""
    try:
        plain, page = message.get_body(("plain",)), message.get_body(("html",))
    except (KeyError, AttributeError, MessageError):
        return None
    if plain is None or page is None:
        return plain or page
    return page if len(_text(plain).split()) * 4 < len(re.sub(r"<[^>]*>", " ", _text(page)).split()) else plain


def _add_attachments(builder: Builder, message: EmailMessage, body: MIMEPart | None) -> None:
    pending: list[Any] = list(message.iter_parts()) if message.is_multipart() else []
    for part in pending:  # which grows
        if part is body:
            continue
        kind = part.get_content_type()
        if kind.startswith("multipart/"):
            pending.extend(part.iter_parts())
            continue
        name = part.get_filename() or ""
        disposed = part.get_content_disposition() == "attachment"
        if not disposed and not name and kind in ("text/plain", "text/html"):
            continue  # another form of the body
        if not disposed and kind.startswith("image/"):
            continue  # pictures of the page
        if kind == "message/rfc822":
            inner = part.get_payload(0)
            builder.parts.append(Part(f"{_header(inner, 'Subject') or 'message'}.eml", inner.as_bytes()))
            continue
        payload = part.get_payload(decode=True)
        if isinstance(payload, bytes) and payload:
            ending = mimetypes.guess_extension(kind) or ""
            builder.parts.append(Part(name or f"attachment{ending}", payload))


def _add_plain(builder: Builder, text: str) -> None:
    for paragraph in re.split(r"\n\s*\n", text):
        builder.paragraph(paragraph)


def _add_html(builder: Builder, part: Any) -> None:
    payload = part.get_payload(decode=True) or b""
    charset = part.get_content_charset() or declared_encoding(payload)
    add_html(clean(decode(payload, charset)), builder)


def _text(part: MIMEPart) -> str:
    payload: Any = part.get_payload(decode=True)
    if not isinstance(payload, bytes):
        return ""
    try:
        return clean(decode(payload, part.get_content_charset()))
    except DocumentError:
        return clean(payload.decode("latin-1"))


def _header(message: Any, name: str) -> str:
    try:
        return " ".join(str(message[name] or "").split())
    except (ValueError, IndexError, AttributeError, TypeError, MessageError):  # the parser of headers stumbles over some
        return ""
