"""The memo of a streamed pickle: texts are kept small, containers only as long as they may still be referred to."""

from __future__ import annotations

from array import array
from typing import Any

from prejudge.formats.pickle.unpickler import Made, Name, Refused

_MOST_TEXTS = 1 << 20


class Memo:
    """The values that a pickle has numbered so far, so that it may refer to them later.

    A benchmark file numbers tens of millions of texts, nearly all of them repetitions of a few ten thousand. A slot
    therefore takes two bytes: the number of the distinct text, or zero for anything else. Containers live until
    :meth:`forget`; those that were numbered before :meth:`hold`, and names and dtypes, live on.
    """

    def __init__(self) -> None:
        self._slots = array("H")
        self._texts = [""]
        self._numbers: dict[str, int] = {}
        self.restart()

    def restart(self) -> None:
        """Begin another pickle; the distinct texts stay known."""
        self._slots = array(self._slots.typecode)
        self._kept: dict[int, Any] = {}
        self._live: dict[int, Any] = {}

    def __len__(self) -> int:
        return len(self._slots)

    def append(self, value: Any) -> None:
        """Give a value the next number."""
        kind = type(value)
        if kind is str:
            number = self._numbers.get(value) or self._number(value)  # which may replace the slots
            self._slots.append(number)
        else:
            (self._kept if kind is Name or kind is Made else self._live)[len(self._slots)] = value
            self._slots.append(0)

    def __getitem__(self, index: int) -> Any:
        if index >= len(self._slots):
            raise Refused(f"refers to memo entry {index}, which was never written")
        number = self._slots[index]
        if number:
            return self._texts[number]
        try:
            return self._live[index] if index in self._live else self._kept[index]
        except KeyError:
            raise Refused(
                f"refers to memo entry {index}, a part of an earlier architecture that was dropped to save memory"
            ) from None

    def numbers(self, texts: list[str]) -> array[int]:
        """The numbers of distinct texts, for :meth:`append_texts`."""
        made = [self._numbers.get(text) or self._number(text) for text in texts]
        return array(self._slots.typecode, made)

    def append_texts(self, numbers: array[int]) -> None:
        """Give texts the next numbers."""
        if numbers.typecode != self._slots.typecode:
            numbers = array(self._slots.typecode, numbers)
        self._slots.extend(numbers)

    def text_numbers(self, first: int, count: int) -> array[int] | None:
        """The numbers of the texts in consecutive slots; None if not all of these are texts."""
        found = self._slots[first : first + count]
        return found if len(found) == count and 0 not in found else None

    def texts(self, numbers: array[int]) -> tuple[str, ...]:
        """The texts of these numbers."""
        return tuple([self._texts[number] for number in numbers])

    def hold(self) -> None:
        """Keep what is numbered so far for good: the containers around the entries."""
        self._kept |= self._live
        self._live = {}

    def forget(self) -> None:
        """Drop the containers that were numbered since :meth:`hold` or the last call."""
        self._live = {}

    def _number(self, text: str) -> int:
        number = len(self._texts)
        if number > _MOST_TEXTS:
            raise Refused(f"holds more than {_MOST_TEXTS:,} different texts, far more than a benchmark file")
        if number == 1 << 16 and self._slots.typecode == "H":
            self._slots = array("I", self._slots)
        self._texts.append(text)
        self._numbers[text] = number
        return number
