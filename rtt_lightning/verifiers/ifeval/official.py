"""Corrects `if-verifiable` 0.1.2 where it differs from the official evaluators.

The package follows IFBench's release of 2025. Two later states are available:

- ``main`` of allenai/IFBench, commit db69a6f, as of 2026-08-22: sentences come from NLTK, words are matched whole;
- ``pr34``, its pull request 34 (commit 1d62c1d6, open then): six more ids are checked as their prompts say, such as
  trigrams and spans of words: see `PR34`.

IFEval is judged by the main of google-research/instruction_following_eval, but for one id: `keywords:letter_frequency`
draws a random letter in place of a character such as "#"; here that character is counted, as in commit 3f357bde of a
pull request. Accuracies by different states are not comparable.
"""

import re
import string
from collections.abc import Callable
from typing import Any, Literal

State = Literal["main", "pr34"]
BY_NLTK = frozenset(
    "change_case:capital_word_frequency count:pronouns custom:sentence_alphabet custom:word_reverse format:emoji "
    "format:no_bullets_bullets format:title_case length_constraints:number_sentences ratio:overlap "
    "ratio:sentence_balance ratio:sentence_type ratio:sentence_words sentence:alliteration_increment "
    "sentence:increment sentence:keyword words:keywords_specific_position words:last_first words:start_verb "
    "words:words_position".split()
)
"""Ids whose verdicts depend on how NLTK splits sentences or words, which changes with its version."""
PRONOUNS = frozenset(
    "i me my mine myself we us our ours ourselves you your yours yourself yourselves he him his himself she her hers "
    "herself it its itself they them their theirs themselves this that these those who whom whose which what whoever "
    "whomever whatever whichever anybody anyone anything everybody everyone everything nobody nothing somebody someone "
    "something each either neither both all some any none".split()
)
"""Which words count as pronouns."""


def official_classes(ifeval: dict[str, Any], ifbench: dict[str, Any], state: State) -> dict[str, Any]:
    """The instruction classes of the package, by id; those that differ from a state of the evaluators are replaced."""
    import nltk
    from if_verifiable.ifbench import instructions_util

    instructions_util.split_into_sentences = nltk.sent_tokenize  # looked up at each call; IFEval has its own
    classes = {**ifeval, **ifbench}
    classes["keywords:letter_frequency"] = _any_character(classes["keywords:letter_frequency"])
    classes["repeat:repeat_span"] = _whole_span(classes["repeat:repeat_span"])
    checks = CHECKS | {"main": MAIN, "pr34": PR34}[state]
    return classes | {name: _with_check(classes[name], check) for name, check in checks.items()}


def _with_check(base: Any, check: Callable[[Any, str], bool]) -> Any:
    """A subclass with another check."""
    return type(base.__name__, (base,), {"check_following": check})


def _any_character(base: Any) -> Any:
    """Accepts any single character as letter, such as "#"; the package would draw a letter instead."""

    class LetterFrequency(base):
        def build_description(self, *, letter: str | None = None, **kwargs: Any) -> str:
            character = letter.strip().lower() if letter else ""
            if len(character) != 1:
                return super().build_description(letter=letter, **kwargs)
            description = super().build_description(letter="a", **kwargs)
            self._letter = character
            return description.replace("letter a ", f"letter {character} ")

    return LetterFrequency


def _whole_span(base: Any) -> Any:
    """``n_start`` to ``n_end``, both included and counted from 0; the package replaces a start of 0 by a random one."""

    class RepeatSpan(base):
        def build_description(self, prompt_to_repeat: str, n_start: int, n_end: int) -> str:
            description = super().build_description(prompt_to_repeat, n_start + 1, n_end + 1)
            self._n_start, self._n_end = int(n_start), int(n_end)
            return description.replace(f"{n_start + 1} and {n_end + 1}", f"{n_start} and {n_end}")

    return RepeatSpan


def _span_of_characters(self: Any, value: str) -> bool:
    """By characters, although the prompts of the benchmark count words."""
    return value.strip().lower() == self._prompt_to_repeat[self._n_start : self._n_end + 1].strip().lower()


def _span_of_words(self: Any, value: str) -> bool:
    words = self._prompt_to_repeat.lower().split()
    return value.strip().lower() == " ".join(words[self._n_start : self._n_end + 1])


def _trigram_overlap(self: Any, value: str) -> bool:
    """Of words, not of characters."""
    tokens = [_tokens(text) for text in (value, self._reference_text)]
    found, reference = ({*zip(each, each[1:], each[2:], strict=False)} for each in tokens)
    if not found:
        return False
    percentage = len(found & reference) / len(found) * 100  # in this order: 14 of 25 are a little above 56
    return self._percentage - 2 <= percentage <= self._percentage + 2


def _second_words(self: Any, value: str) -> bool:
    """Ignores punctuation and case."""
    words = _words(value)
    return len(words) > 1 and words[1] == words[-2] == self._keyword.lower()


def _second_tokens(self: Any, value: str) -> bool:
    """Ignores case and a single punctuation mark at the end; other punctuation counts as words."""
    words = [word.lower() for word in _tokens(value)]
    last = -3 if words and words[-1] in string.punctuation else -2
    return len(words) >= -last and words[1] == words[last] == self._keyword.lower()


def _word_at_position(self: Any, value: str) -> bool:
    sentences = _sentences(value)
    words = _words(sentences[int(self._n) - 1]) if len(sentences) >= self._n else []
    return len(words) >= self._m and words[int(self._m) - 1] == self._keyword.lower()


def _keywords_so_often(self: Any, value: str) -> bool:
    """As whole words."""
    words = (self._keyword1, self._keyword2, self._keyword3, self._keyword4, self._keyword5)
    return all(len(_whole_word(word, value)) == n for word, n in zip(words, (1, 2, 3, 5, 7), strict=True))


def _pronouns(self: Any, value: str) -> bool:
    words = _tokens(value.replace("/", " ").lower())
    return sum(word in PRONOUNS for word in words) >= self._num_pronouns


def _person_names(self: Any, value: str) -> bool:
    """As whole words; the names are those that the description lists."""
    names = self._description_pattern.partition("names: ")[2].rstrip(" .").split(", ")
    return sum(bool(re.search(rf"\b{name}\b", value)) for name in names) >= self._num_person_names


def _keyword_in_sentence(self: Any, value: str) -> bool:
    sentences, position = _sentences(value), int(self._keyword_position)
    return len(sentences) >= position and bool(_whole_word(self._keyword, sentences[position - 1]))


def _equal_sentences(self: Any, value: str) -> bool:
    """Three sentences of equal length, and no word twice."""
    sentences = _sentences(value)
    words = " ".join(sentences).lower().translate(str.maketrans("", "", string.punctuation)).split()
    lengths = {len(sentence.strip()) for sentence in sentences}
    return len(sentences) == 3 and len(lengths) == 1 and len(set(words)) == len(words)


def _title_case(self: Any, value: str) -> bool:
    """Skips what does not begin with a letter; a single lowercase letter counts as lowercase."""
    return not any(
        word[0].isalpha() and word[0].islower() and (len(word) == 1 or word[1:].isupper() or word[1:].islower())
        for word in _tokens(value)
    )


def _explained_quotes(self: Any, value: str) -> bool:
    """Only straight quotation marks count; an answer of only digits and punctuation quotes nothing."""
    text = "".join(value.replace("'\"'", "").split())
    rest = text.strip(string.digits + string.punctuation.replace('"', ""))
    return '""' not in text and not rest.endswith('"')


def _alphabet_of_sentences(self: Any, value: str) -> bool:
    """By the first letter after punctuation of each of 26 sentences."""
    sentences = _sentences(value)
    firsts = [sentence.lstrip(string.punctuation + string.whitespace)[:1].lower() for sentence in sentences]
    return firsts == list(string.ascii_lowercase)


def _sentences(text: str) -> list[str]:
    import nltk  # slow to import

    return nltk.sent_tokenize(text)


def _tokens(text: str) -> list[str]:
    import nltk

    return nltk.word_tokenize(text)


def _words(text: str) -> list[str]:
    return [word.lower() for word in _tokens(text) if any(character.isalnum() for character in word)]


def _whole_word(word: str, text: str) -> list[str]:
    return re.findall(rf"\b{re.escape(word)}\b", text, re.IGNORECASE)


Check = Callable[[Any, str], bool]
CHECKS: dict[str, Check] = {
    "words:keywords_specific_position": _word_at_position,
    "count:pronouns": _pronouns,
    "count:person_names": _person_names,
    "sentence:keyword": _keyword_in_sentence,
    "format:title_case": _title_case,
    "format:quote_unquote": _explained_quotes,
}
"""Checks of both states of IFBench that differ from the package."""
MAIN: dict[str, Check] = {
    "words:words_position": _second_tokens,
    "repeat:repeat_span": _span_of_characters,
}
"""Checks of main alone. For other ids in `PR34` it judges like the package: trigrams of characters, and so on."""
PR34: dict[str, Check] = {
    "ratio:overlap": _trigram_overlap,
    "ratio:sentence_words": _equal_sentences,
    "custom:sentence_alphabet": _alphabet_of_sentences,
    "count:keywords_multiple": _keywords_so_often,
    "words:words_position": _second_words,
    "repeat:repeat_span": _span_of_words,
}
"""The six ids (32 of IFBench's 335 instructions) that the pull request judges differently from main."""
