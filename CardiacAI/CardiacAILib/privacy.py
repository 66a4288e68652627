"""Who a patient is stays out of results, also where folders and series are named after patients."""

import re
import unicodedata


def anonymous(text: str, identifiers: dict[str, str]) -> str:
    """The text without the words that tell the patient's name, id or birth date.

    text: what somebody called a file, folder or series, or a sentence that quotes it. identifiers: see `Cine`. A word
    goes when it is a part of the name or id, or holds one of four letters or more; accents, umlauts and case are one.
    """
    told = [identifiers.get(key, "") for key in ("Patient name", "Patient ID", "Birth date")]
    words = {form for part in told for word in re.findall(r"[^\W_]+", _composed(part)) for form in _forms(word)}
    numbers = {number for part in told for number in re.findall(r"\d{4,}", part.replace("-", ""))}
    secrets = {secret for secret in words | numbers if len(secret) > 1}
    long = [secret for secret in secrets if len(secret) > 3]

    def hidden(match: re.Match) -> str:
        found = _forms(match[0])
        return "[removed]" if found & secrets or any(secret in form for form in found for secret in long) else match[0]

    return re.sub(r"[^\W_]+", hidden, _composed(text))


def _composed(text: str) -> str:
    """Letters with their accents as one character; macOS takes file names apart."""
    return unicodedata.normalize("NFC", text)


def _forms(word: str) -> set[str]:
    """How a word may be written: M\u00fcller, muller, mueller."""
    small = word.casefold()
    plain = "".join(c for c in unicodedata.normalize("NFKD", small) if not unicodedata.combining(c))
    german = small.translate({0xE4: "ae", 0xF6: "oe", 0xFC: "ue"})
    return {small, plain, "".join(c for c in unicodedata.normalize("NFKD", german) if not unicodedata.combining(c))}
