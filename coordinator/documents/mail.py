"""Mail: messages (.eml), mailboxes (.mbox) and pages kept as messages (.mht)."""

import contextlib
import email
import email.policy
import mimetypes
import re
from email.errors import MessageError
from email.message import EmailMessage
from typing import Any, Final

from coordinator.documents.builder import Builder
from coordinator.documents.encodings import decode
from coordinator.documents.extract import Extract, Part, clean
from coordinator.documents.html import add_html, declared_encoding
from coordinator.errors import DocumentError
from coordinator.types import Gap, GapKind, SectionKind

_HEADERS: Final = ("From", "To", "Cc", "Date", "Subject")
# A line of a text may begin so as well: a header follows the line that parts messages, and an empty line stands before it.
_SEPARATOR: Final = re.compile(rb"(?:\A|(?<=\n\n)|(?<=\n\r\n))From [^\n]*\d{4}[^\n]*\r?\n(?=[!-9;-~]+:|>From )")
_SIGNATURES: Final = frozenset(
    {"application/pkcs7-signature", "application/x-pkcs7-signature", "application/pgp-signature", "application/pgp-encrypted"}
)
_ENCRYPTED: Final = frozenset({"multipart/encrypted", "application/pkcs7-mime", "application/x-pkcs7-mime"})
_PGP_MESSAGE: Final = re.compile(r"-----BEGIN PGP MESSAGE-----.*?(?:-----END PGP MESSAGE-----|\Z)", re.DOTALL)
_PGP_SIGNED: Final = re.compile(
    r"-----BEGIN PGP SIGNED MESSAGE-----\n(?:[A-Z]\S*: [^\n]*\n)*"
    r"|-----BEGIN PGP SIGNATURE-----.*?(?:-----END PGP SIGNATURE-----|\Z)",
    re.DOTALL,
)
MAX_MESSAGES: Final = 100_000
MAX_PAGES: Final = 50
MAX_DEPTH: Final = 20
"""Of parts inside one another."""


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
    """The page of a web archive and what its frames show, without pictures and styles."""
    builder = Builder()
    pages = [part for part in _parsed(data).walk() if part.get_content_type() in ("text/html", "application/xhtml+xml")]
    if not pages:
        raise DocumentError("it is damaged, or not a web archive: there is no page in it")
    for page in pages[:MAX_PAGES]:  # the first, and those in its frames
        _add_html(builder, page)
    return builder.extract()


def _parsed(data: bytes) -> EmailMessage:
    message = email.message_from_bytes(data, policy=email.policy.default)
    if not message.keys():
        raise DocumentError("it is damaged, or not a message: it has no header")
    return message


def _add_message(builder: Builder, message: EmailMessage) -> None:
    head = (f"{name}: {value}" for name in _HEADERS if (value := _header(message, name)))
    builder.paragraph("\n".join(head))
    _add_part(builder, message, 0)


def _add_part(builder: Builder, part: Any, depth: int) -> None:
    """The text of a part and of those in it, each once; what is attached becomes a document of its own."""
    kind = part.get_content_type()
    attached = part.get_content_disposition() == "attachment"
    if kind in _ENCRYPTED:
        reason = "the message is encrypted, or signed so that only mail programs open it; save its text from one and try again"
        builder.gaps.append(Gap(GapKind.NOT_READ, reason))
    elif kind in _SIGNATURES or depth > MAX_DEPTH:
        return
    elif kind == "message/rfc822":
        inner = part.get_payload(0)
        builder.parts.append(Part(f"{_header(inner, 'Subject') or 'message'}.eml", inner.as_bytes()))
    elif kind == "multipart/alternative":
        for each in _best_forms(list(part.iter_parts())):
            _add_part(builder, each, depth + 1)
    elif part.is_multipart():
        for each in part.iter_parts() if kind.startswith("multipart/") else ():
            _add_part(builder, each, depth + 1)
    elif kind in ("text/plain", "text/html") and not attached and not part.get_filename():
        if kind == "text/html":
            _add_html(builder, part)
        else:
            _add_plain(builder, part)
    elif attached or not kind.startswith("image/"):  # pictures of the page are none of its text
        _add_attachment(builder, part)


def _best_forms(forms: list[Any]) -> list[Any]:
    """Of the forms of one text the plain one, unless it says next to nothing and another one more; and what is no form of it."""

    def words(form: Any) -> int:
        return max(
            (len(re.sub(r"<[^>]*>", " ", _text(each)).split()) for each in form.walk() if each.get_content_maintype() == "text"),
            default=0,
        )

    plain = [form for form in forms if form.get_content_type() == "text/plain"]
    rich = [form for form in forms if form.get_content_type() == "text/html" or form.get_content_type().startswith("multipart/")]
    others = [form for form in forms if form not in plain and form not in rich]
    if plain and rich:
        return [rich[-1] if words(plain[0]) * 4 < words(rich[-1]) else plain[0], *others]
    return [*plain[:1], *rich[-1:], *others]


def _add_attachment(builder: Builder, part: Any) -> None:
    kind, name = part.get_content_type(), part.get_filename() or ""
    payload = part.get_payload(decode=True)
    if kind == "application/ms-tnef" or name.lower() == "winmail.dat":
        reason = (
            f"{name or 'a part'} is in Outlook's own format and may hold text and attachments; ask for the message as plain text"
        )
        builder.gaps.append(Gap(GapKind.NOT_READ, reason))
    elif isinstance(payload, bytes) and payload:
        builder.parts.append(Part(name or f"attachment{mimetypes.guess_extension(kind) or ''}", payload))


def _add_plain(builder: Builder, part: Any) -> None:
    text = _text(part)
    if part.get_param("format") == "flowed":
        text = _unflowed(text, delete_space=part.get_param("delsp") == "yes")
    if _PGP_MESSAGE.search(text):
        text = _PGP_MESSAGE.sub("", text)
        builder.gaps.append(Gap(GapKind.NOT_READ, "text of the message is encrypted; save it from the mail program and try again"))
    for paragraph in re.split(r"\n\s*\n", _PGP_SIGNED.sub("", text)):
        builder.paragraph(paragraph)


def _unflowed(text: str, *, delete_space: bool) -> str:
    """Lines that only a mail program wrapped, as the lines that were written (RFC 3676)."""
    lines: list[str] = []
    open_depth = -1  # of quotation, while the last line goes on
    for line in text.split("\n"):
        content = line.lstrip(">")
        depth = len(line) - len(content)
        content = content.removeprefix(" ")
        if depth == open_depth:
            lines[-1] += content
        else:
            lines.append(f"{'>' * depth} {content}" if depth else content)
        goes_on = content.endswith(" ") and content != "-- "
        open_depth = depth if goes_on else -1
        if goes_on and delete_space:
            lines[-1] = lines[-1][:-1]
    return "\n".join(lines)


def _add_html(builder: Builder, part: Any) -> None:
    payload = part.get_payload(decode=True) or b""
    charset = part.get_content_charset() or declared_encoding(payload)
    add_html(clean(decode(payload, charset)), builder)


def _text(part: Any) -> str:
    payload = part.get_payload(decode=True)
    if not isinstance(payload, bytes):
        return ""
    try:
        return clean(decode(payload, part.get_content_charset()))
    except DocumentError:
        return clean(payload.decode("latin-1"))


def _header(message: Any, name: str) -> str:
    raw = next((str(value) for key, value in message.raw_items() if key.lower() == name.lower()), "")
    if any("\udc80" <= character <= "\udcff" for character in raw):  # written without being encoded
        with contextlib.suppress(DocumentError):
            return " ".join(decode(raw.encode("utf-8", "surrogateescape")).split())
    try:
        return " ".join(str(message[name] or "").split())
    except (ValueError, IndexError, AttributeError, TypeError, MessageError):  # the parser of headers stumbles over some
        return ""
