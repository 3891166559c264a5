"""The language of a text: by its script, and for scripts that languages share by their letters and commonest words."""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from typing import Final

UNKNOWN: Final = "und"
SAMPLE_CHARS: Final = 6_000  # enough to tell a language; longer texts are judged by their beginning

# First and last code point of a block, and whose it is. "Han", "Latin", "Cyrillic", "Arabic" and "Hebrew" are shared.
_BLOCKS: Final = (
    (0x0041, 0x024F, "Latin"),
    (0x0370, 0x03FF, "el"),
    (0x0400, 0x052F, "Cyrillic"),
    (0x0531, 0x058F, "hy"),
    (0x0590, 0x05FF, "he"),
    (0x0600, 0x06FF, "Arabic"),
    (0x0750, 0x077F, "Arabic"),
    (0x0900, 0x097F, "Devanagari"),
    (0x0980, 0x09FF, "bn"),
    (0x0A00, 0x0A7F, "pa"),
    (0x0A80, 0x0AFF, "gu"),
    (0x0B80, 0x0BFF, "ta"),
    (0x0C00, 0x0C7F, "te"),
    (0x0C80, 0x0CFF, "kn"),
    (0x0D00, 0x0D7F, "ml"),
    (0x0D80, 0x0DFF, "si"),
    (0x0E00, 0x0E7F, "th"),
    (0x0E80, 0x0EFF, "lo"),
    (0x1000, 0x109F, "my"),
    (0x10A0, 0x10FF, "ka"),
    (0x1100, 0x11FF, "ko"),
    (0x1200, 0x137F, "am"),
    (0x1780, 0x17FF, "km"),
    (0x1E00, 0x1EFF, "Latin"),
    (0x1F00, 0x1FFF, "el"),
    (0x3041, 0x30FF, "ja"),
    (0x3400, 0x9FFF, "Han"),
    (0xAC00, 0xD7AF, "ko"),
    (0xF900, 0xFAFF, "Han"),
    (0xFB50, 0xFDFF, "Arabic"),
    (0xFE70, 0xFEFE, "Arabic"),
)
_DENSE_WEIGHT: Final = 3  # a Chinese character or a Korean syllable says as much as some three letters
_DENSE: Final = frozenset({"Han", "ja", "ko"})

# Letters that few of the languages of a script use.
_LETTERS: Final = {
    "Cyrillic": {"uk": "іїєґ", "sr": "ђћџљњј", "bg": "ъщ", "ru": "ыэё", "be": "ў", "mk": "ѓќѕ", "kk": "әғқңөұүһ"},
    "Arabic": {"ur": "ٹڈڑےںھہپچگکی", "fa": "پچژگکی", "ar": "ةىأإؤئيك"},
    "Devanagari": {"mr": "ळ"},
    "Latin": {
        "de": "äöüß",
        "fr": "éèêçàùœîôû",
        "es": "ñ¿¡áéíóú",
        "pt": "ãõçáéêó",
        "it": "àèìòù",
        "ca": "·çàèòï",
        "ro": "ăâîșțşţ",
        "pl": "ąćęłńśźż",
        "cs": "ěřůčšžýáí",
        "sk": "ľĺŕôčšžýáťď",
        "hu": "őűáéíóöü",
        "hr": "čćđšž",
        "tr": "ğışçöüİ",
        "sv": "åäö",
        "da": "æøå",
        "nb": "æøå",
        "is": "ðþæöáíúý",
        "fi": "äö",
        "et": "õäöü",
        "lv": "āēīūģķļņčšž",
        "lt": "ėęįųūąčšž",
        "vi": "ăđơưạảấầẩẫậắằẳẵặẹẻẽếềểễệỉịọỏốồổỗộớờởỡợụủứừửữựỳỵỷỹ",
    },
}

# The commonest short words of each language. One that many languages share counts little: see `_WORD_WEIGHTS`.
_WORDS: Final = {
    "en": "the of and to in is that for it with as was on are this be at by not you from have or an which what how who "
    "when where why can could would should will do does did has had were they their his her my your me we i but if "
    "about into than then there these those its been write make give find explain list tell please use using all any "
    "some more most each between following first many much name one two a over time create show help",
    "es": "el la los las de que y en un una por con para es se del al lo como más pero sus le ya o este sí porque esta "
    "entre cuando muy sin sobre también me hasta hay donde quien desde todo nos qué cómo cuál son está ser tiene su no",
    "fr": "le la les de des et à un une du en est que qui dans pour pas au sur ne se ce il elle je vous nous avec par "
    "plus sont mais ou où comme cette son sa ses leur aux être fait été tout tous mon votre quel quelle comment l d",
    "de": "der die das und in den von zu mit sich des auf für ist im dem nicht ein eine als auch es an werden aus er "
    "hat dass sie nach wird bei einer um am sind noch wie einem über so zum war haben nur oder aber vor zur bis mehr "
    "durch man wenn ich wir ihr mein was wer warum bitte schreibe kann",
    "it": "il la di che e in un una per è non con del della le si da dei nel al come sono più ha gli lo alla anche ma "
    "delle i questo suo o se nella ed dal ci essere dalla degli mi perché cosa chi quando dove sul tra loro",
    "pt": "o a de que e do da em um para é com não uma os no se na por mais as dos como mas foi ao ele das tem à seu "
    "sua ou ser quando muito há nos já está eu também só pelo pela até isso ela entre era depois sem você são",
    "nl": "de het een van en in is dat op te zijn met voor niet aan er om ook als dan maar door bij nog uit naar heeft "
    "ze wordt over hij ik je wat deze meer was worden kan tot hoe waar wie mijn veel geen",
    "sv": "och att det i som på en är av för med den till inte har de ett om var jag han men så från vi kan när hon "
    "nu vid ska eller sig efter man mycket mer hur vad alla också där skulle",
    "da": "og i at det er en til af på for den de som med ikke har et der var jeg han men fra vi kan om når hun ved "
    "eller sig efter man meget mere hvordan hvad også blev være efter ud mod blive af nogle kun ind",
    "nb": "og i at det er en til av på for den de som med ikke har et der var jeg han men fra vi kan om når hun ved "
    "eller seg etter man mye mer hvordan hva også ble være ut mot bli noen bare inn etter",
    "is": "og að í á er sem en til það af við um með ekki var fyrir hann eru því hefur þess eða frá þau upp úr verið "
    "voru þetta hún ég þeir svo vera",
    "fi": "ja on ei se että oli joka mutta hän myös tai kun niin kuin ovat sen mitä tämä jos vain ole sitä hänen minä "
    "sekä mukaan jo kanssa jonka olla ollut vielä nyt voi",
    "et": "ja on ei see et oli kes ka kui ning mis aga ta oma välja selle või seda mida nii siis veel nad ma üle pole "
    "kuid kõik olla",
    "hu": "a az és hogy nem is egy van ez de azt meg csak már mint volt még el ha vagy kell lesz le fel ki ezt itt "
    "minden nagyon mert aki amely után között",
    "pl": "w i z na do nie się że to jest o jak za od po przez dla są co ale tym być czy lub oraz ten jego ma już był "
    "tylko które może przed także ich ze jej gdy",
    "cs": "a v se na je že s z do o to i za ve pro jako by ale k po si jsou tak jeho nebo jsem co byl podle aby od "
    "které který již před když není také až při této",
    "sk": "a v sa na je že s z do o to aj za vo pre ako by ale k po si sú tak jeho alebo som čo bol podľa aby od "
    "ktoré ktorý už pred keď nie je tiež až pri tejto ktorá",
    "ro": "de și în a la cu pe să nu care din un o este pentru mai ce că sunt fi prin au lui sau al ale fost dar "
    "după această acest între îi era vor si",
    "ca": "de la i el que a en per un del els les una amb és no al dels es com més o ha seu són aquest aquesta d l "
    "però pel també les seva ser",
    "hr": "i je u na se da su za od s o a koji to kao što bi iz nije ne sam ili ali će biti koja do samo po može "
    "prema još bio više",
    "tr": "ve bir bu da de için ile çok olarak ne daha o en gibi olan var kadar sonra ama ya değil her mi ki ben "
    "olduğu oldu tarafından içinde",
    "vi": "và của là có được trong cho các với không một này người những đã khi từ về để ra đó cũng như tôi ở trên vào "
    "năm nhưng sẽ bị hãy viết",
    "id": "yang dan di dengan untuk ini dari dalam pada tidak itu adalah ke akan juga ada oleh tersebut saya atau "
    "karena bisa lebih sudah mereka bahwa kami anda seperti telah para",
    "ms": "yang dan di dengan untuk ini dari dalam pada tidak itu adalah ke akan juga ada oleh tersebut saya atau "
    "kerana boleh lebih sudah mereka bahawa kami anda seperti telah iaitu beliau",
    "lv": "un ir ka no ar par uz tas kas bet vai arī tā lai nav pie to kā pēc jau es viņš tiek ko gan savu kad līdz",
    "lt": "ir kad į iš su yra tai bet kaip buvo ar apie jo dėl tik ne per po už jau labai ji jis bus mes arba prie "
    "nuo savo kurie",
    "sw": "ya wa na kwa ni katika za la kuwa cha hii ili kama hiyo huo lakini pia au yake watu wake",
    "tl": "ang ng sa na mga ay at ito ni para kung hindi siya may nang mula isang si ko ako din rin",
}
_CYRILLIC_WORDS: Final = {
    "ru": "и в не на что с по как это но он для из к у от за так было же все был его или если только мы вы о",
    "uk": "і в не на що з та як це але він для із до у від за так було й ж що є про його або якщо тільки ми ви",
    "bg": "и в не на че с по как това но той за от да се е са като до ще беше му или ако само ние най към при",
    "sr": "и у не на да се је су за од са по као што то али он из који до ће био или ако само ми о те",
    "be": "і ў не на што з па як гэта але ён для ад за так было ж яго або калі толькі мы вы",
}
_ARABIC_WORDS: Final = {
    "ar": "في من على إلى أن التي الذي عن هذا هذه مع ما لا كان ذلك بين كما بعد قد هو هي أو ثم كل لم",
    "fa": "و در به از که این را با است برای آن یک خود تا بر هم نیز می شود شد شده ها های کرد بود",
    "ur": "کے کی ہے میں اور سے کا کو اس نے پر ہیں کہ یہ بھی نہیں تھا گیا کر ایک تو ہو وہ",
}
_WORD_TABLES: Final = {"Latin": _WORDS, "Cyrillic": _CYRILLIC_WORDS, "Arabic": _ARABIC_WORDS}
_ENDINGS: Final = {
    "en": ("ing", "tion", "ed", "ly", "ness", "ment", "ght", "ity", "ous", "ck"),
    "de": ("ung", "keit", "isch", "lich", "chen", "heit", "ieren"),
    "fr": ("eux", "ement", "tés", "aux", "oire", "ique", "ment", "eur"),
    "es": ("ción", "dad", "ado", "idad", "mente", "ar", "ando", "os"),
    "it": ("zione", "ità", "are", "ere", "mente", "ando", "tto", "zzi"),
    "pt": ("ção", "dade", "ões", "ando", "agem", "eiro", "ar"),
    "nl": ("heid", "lijk", "ijk", "aan", "ijn", "eren", "isch"),
    "fi": ("nen", "ssa", "sta", "lla", "minen", "inen", "isi"),
    "hu": ("ság", "ban", "ben", "nak", "nek", "ról", "tás", "és"),
    "pl": ("owy", "ość", "anie", "ych", "ego", "cza", "ski"),
    "cs": ("ost", "ení", "ých", "ého", "ský", "ání"),
    "tr": ("lar", "ler", "mek", "mak", "lık", "lik", "sın", "dır"),
    "sv": ("ning", "arna", "orna", "isk", "ade"),
    "da": ("hed", "erne", "ede", "tion", "elig"),
    "nb": ("ene", "het", "sjon", "elig"),
    "sk": ("ých", "ého", "osť", "ní", "ská"),
    "ca": ("ció", "itat", "ment", "esa"),
    "id": ("kan", "nya", "lah", "asi", "an"),
    "ro": ("ului", "iei", "ilor", "tului", "ție", "ează"),
    "lt": ("as", "is", "ųjų", "imas", "uoti", "ių"),
    "lv": ("iem", "ība", "ās", "šana", "ām"),
}
_LETTER_POINTS: Final = 0.7
_ENDING_POINTS: Final = 0.35
_WORD = re.compile(r"[^\W\d_]+")


def _weigh_words(table: dict[str, str]) -> dict[str, dict[str, float]]:
    """Return the points that a word gives: one, shared among the languages that have the word."""
    owners: dict[str, set[str]] = {}
    for language, words in table.items():
        for word in words.split():
            owners.setdefault(word, set()).add(language)
    return {word: {language: 1 / len(having) for language in having} for word, having in owners.items()}


_WORD_WEIGHTS: Final = {script: _weigh_words(table) for script, table in _WORD_TABLES.items()}
_LETTER_OWNERS: Final = {
    script: {
        letter: [language for language, letters in table.items() if letter in letters]
        for letter in "".join(table.values())
    }
    for script, table in _LETTERS.items()
}
_ENDING_OWNERS: Final = [(ending, language) for language, endings in _ENDINGS.items() for ending in endings]
_DEFAULTS: Final = {"Cyrillic": "ru", "Arabic": "ar", "Devanagari": "hi", "Han": "zh", "Latin": UNKNOWN}


def detect_language(text: str) -> str:
    """Return the ISO 639-1 code of the language that most of the text is in, "und" when none is recognised."""
    sample = text[:SAMPLE_CHARS].lower()
    scripts = _count_scripts(sample)
    if not scripts:
        return UNKNOWN
    script = max(sorted(scripts), key=scripts.__getitem__)
    if script == "Han" and scripts["ja"] > 0.15 * scripts["Han"]:
        return "ja"
    if script in _DEFAULTS:
        return _tell_apart(sample, script)
    return script


def _count_scripts(sample: str) -> Counter[str]:
    counts: Counter[str] = Counter()
    for char, times in Counter(sample).items():
        if not char.isalpha():
            continue
        code = ord(char)
        for first, last, script in _BLOCKS:
            if first <= code <= last:
                counts[script] += times * (_DENSE_WEIGHT if script in _DENSE else 1)
                break
    return counts


def _tell_apart(sample: str, script: str) -> str:
    """Return the language with most points among those that write in this script."""
    points: defaultdict[str, float] = defaultdict(float)
    weights = _WORD_WEIGHTS.get(script, {})
    for word, times in Counter(_WORD.findall(sample)).items():
        for language, weight in weights.get(word, {}).items():
            points[language] += weight * times
        if script == "Latin" and len(word) > 3:
            for ending, language in _ENDING_OWNERS:
                if word.endswith(ending):
                    points[language] += _ENDING_POINTS * times
    for char, times in Counter(sample).items():
        owners = _LETTER_OWNERS.get(script, {}).get(char, [])
        for language in owners:
            points[language] += _LETTER_POINTS * times * 2 / (1 + len(owners))
    if not points:
        return _DEFAULTS[script]
    return max(sorted(points), key=points.__getitem__)
