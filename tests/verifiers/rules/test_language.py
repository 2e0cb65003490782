"""Languages: certain, or no verdict."""

import pytest

from rtt_lightning.verifiers.rules.language import language

ENGLISH = (
    "The weather is nice today and we walk to the market to buy some fresh fruit and bread for our dinner with friends."
)
CHINESE = "今天天气很好我们去市场买水果和面包晚饭和朋友一起吃然后回家睡觉明天再去公园散步" * 2
UKRAINIAN = "Сьогодні гарна погода, і ми йдемо на ринок, щоб купити свіжі фрукти та хліб."
BULGARIAN = "Днес времето е хубаво и ние отиваме на пазара, за да купим пресни плодове и хляб."
ARABIC = "الطقس جميل اليوم ونحن نذهب إلى السوق لشراء الفواكه الطازجة والخبز."
PERSIAN = "امروز هوا خوب است و ما به بازار می‌رویم تا میوه تازه و نان بخریم."
URDU = "آج موسم اچھا ہے اور ہم تازہ پھل اور روٹی خریدنے بازار جا رہے ہیں۔"
MARATHI = "आज हवामान छान आहे आणि आम्ही ताजी फळे घेण्यासाठी बाजारात जात आहोत."
RUSSIAN = "Сегодня хорошая погода, и мы идём на рынок, чтобы купить свежие фрукты и хлеб."


@pytest.mark.parametrize(
    ("answer", "code", "met"),
    [
        (ENGLISH, "en", True),
        (ENGLISH, "fr", False),
        ("I like green tea.", "en", None),
        ("Hello!", "en", None),
        ("Hello!", "it", None),
        ("Albert Einstein was born in Ulm.", "en", None),
        ("Albert Einstein was born in Ulm.", "de", None),
        ("Me gusta el té.", "es", None),
        ("Hola", "es", None),
        ("今天天气很好。", "en", False),
        (f"{ENGLISH} {CHINESE}", "en", None),
        ("मुझे हरी चाय पसंद है", "hi", True),
        ("मुझे चाय पसंद है green tea", "hi", None),
        (RUSSIAN, "ru", True),
        (UKRAINIAN, "ru", None),
        (BULGARIAN, "ru", None),
        (ENGLISH, "ru", False),
        (ARABIC, "ar", True),
        (PERSIAN, "ar", None),
        (URDU, "ar", None),
        (MARATHI, "hi", None),
    ],
)
def test_a_language_is_certain_or_unscorable(answer: str, code: str, met: bool | None) -> None:
    assert language(answer, code).met is met
