"""The cues by which a prompt's domain is told: what is asked for, in the words that people ask with."""

from __future__ import annotations

import re
from typing import Final, NamedTuple

from orchestratex.domain.base import Domain

# Every repetition in these patterns is bounded, so that each runs in linear time over the window that it is given.


class Cue(NamedTuple):
    """A sign of a domain: found in the request itself (`ask`) or anywhere in the text that is read."""

    domain: Domain
    points: float
    pattern: re.Pattern[str]
    anywhere: bool = False


_LANGUAGE_NAMES: Final = (
    "english|german|french|spanish|italian|portuguese|dutch|russian|ukrainian|polish|czech|slovak|chinese|mandarin|"
    "cantonese|japanese|korean|arabic|hebrew|hindi|urdu|bengali|tamil|telugu|turkish|persian|farsi|greek|latin|swedish|"
    "danish|norwegian|finnish|hungarian|romanian|bulgarian|serbian|croatian|vietnamese|thai|indonesian|malay|tagalog|"
    "filipino|swahili|icelandic|catalan|estonian|latvian|lithuanian|sanskrit|hinglish|esperanto|welsh|irish|yoruba"
)
_CODE_NAMES: Final = (
    r"python|java|javascript|typescript|c\+\+|c#|golang|rust|kotlin|swift|php|ruby|perl|scala|haskell|matlab|sql|mysql|"
    r"postgres(?:ql)?|html|css|bash|powershell|react|reactjs|node\.?js|django|flask|numpy|pandas|pytorch|keras|"
    r"tensorflow|vba|regex|verilog|assembly|solidity|fortran|cobol|dart|lua|jquery|angular|vue|gradle|docker|"
    r"kubernetes|"
    r"spring boot|laravel|arduino|selenium|opencv|matplotlib|jsx|json|yaml|xml|graphql|\.net|latex"
)
_MAKE: Final = (
    "write|compose|create|generate|craft|draft|make|tell|give|"
    "produce|pen|invent|imagine|develop|provide|design|do|need|want"
)


def _cue(domain: Domain, points: float, pattern: str, *, anywhere: bool = False) -> Cue:
    return Cue(domain, points, re.compile(pattern, re.IGNORECASE | re.MULTILINE), anywhere)


_CODING: Final = (
    _cue(
        Domain.CODING,
        4,
        r"\b(?:write|implement|create|complete|code|develop|build|make|design|give|need|generate|fix|debug|refactor|"
        r"optimi[sz]e|revise|explain|simplify|convert|rewrite|review|necesito|escrib\w{0,4}|schreibe?|напиши)\b"
        r"[^.\n]{0,50}\b(?:function|program|programa|programm|программ\w{0,3}|script(?! for)|code|código|код\w{0,2}|"
        r"class|method|query|regex|algorithm|subroutine|macro|snippet|app|website|api|compiler|"
        r"webpage)\b(?! of conduct)",
    ),
    _cue(
        Domain.CODING,
        6,
        rf"^\W{{0,3}}(?:please )?(?:write|implement|create|code) (?:an? |the |me a )?(?:\w{{1,12}} )?"
        rf"(?:(?:{_CODE_NAMES}) )?(?:function|program|query|regex|class|algorithm)\b",
    ),
    _cue(Domain.CODING, 3, rf"(?<![\w.])(?:{_CODE_NAMES})(?![\w])"),
    _cue(
        Domain.CODING,
        3,
        rf"(?<![\w.])(?:{_CODE_NAMES}) (?:function|code|script|program|method|class|query|project|app|snippet|"
        rf"dataframe)",
    ),
    _cue(
        Domain.CODING,
        2.5,
        r"\b(?:source code|code snippet|this code|the code|following code|below code|code below|unit tests?|"
        r"stack trace|"
        r"traceback|compile[rs]?|runtime error|exception|refactor|debug\w{0,4}|dataframe|docstring|jsdoc|api endpoint|"
        r"data structure|linked list|binary tree|hash ?map|recursion|recursive|time complexity|object-oriented|boolean|"
        r"lambda|dictionar(?:y|ies) of|tuples?|substring|given (?:array|list|string|tuple|number)s?|nested list)\b",
    ),
    _cue(Domain.CODING, 4, r"```|~~~", anywhere=True),
    _cue(
        Domain.CODING,
        3.5,
        r"^\s{0,60}(?:def \w{1,60}\(|class \w{1,60}[:({ ]|import [\w.]{1,60};?$|from [\w.]{1,60} import|#include|"
        r"public (?:static |class |void |int )|private \w|function \w{0,60}\s?\(|(?:const|let|var) [\w{ ,}]{1,60} ?=|"
        r"return [^ ]{1,60};|for ?\(|while ?\(|if ?\(.{1,80}\{|print\(|console\.log|</?(?:div|html|body|script|span)|"
        r"using namespace|fun \w{1,60}\(|fn \w{1,60}\(|package [\w.]{1,60};|SELECT\s.{1,80}\sFROM\s|"
        r"CREATE TABLE|@\w{1,30}$)",
        anywhere=True,
    ),
    _cue(
        Domain.CODING, 2, r"\w\(\w{0,30}\);|\w\.\w{1,30}\(|[{};]\s{0,3}$|\bself\.\w|=>|->|::|!=|==|\+=", anywhere=True
    ),
    _cue(
        Domain.CODING,
        9,
        r"standard input|input is given|sample (?:input|output)|^constraints:?\s{0,3}$|^(?:input|"
        r"output):? {0,3}.{0,60}\n",
        anywhere=True,
    ),
    _cue(
        Domain.CODING,
        5,
        r"\btest cases?\b|modulo (?:\$?10|998)|"
        r"print (?:the|yes|no|-1|an?) |output (?:a single|the answer|yes|one)|"
        r"<= ?[a-z]\w{0,20}(?:\[\w\])?(?:\.length)? ?<=|"
        r"\breturn (?:an? (?:integer|array|string|boolean)|the (?:number|maximum|minimum|sum|length|answer)|true)|"
        r"\b(?:0-indexed|1-indexed|subarray|subsequence|integer arrays?|binary string|\d-th)\b|"
        r"you are given (?:an?|two|the) (?:\w{1,20} ){0,3}(?:array|string|integer|grid|tree|graph|list|matrix|"
        r"sequence)",
        anywhere=True,
    ),
    _cue(
        Domain.CODING,
        4,
        r"代码|编程|程序(?!员)|函数|算法|脚本|正则表达式|变量|数组|SQL|python|java|C\+\+|数据库查询|コード|"
        r"プログラム|関数|코드|함수",
    ),
    _cue(
        Domain.CODING, 3, r"\b(?:code me|coding|programming|programmer|software bug|leetcode|github|repo(?:sitory)?)\b"
    ),
)

_TRANSLATION: Final = (
    _cue(Domain.TRANSLATION, 6, r"(?:^|[\n.?!:] {0,3}|please |you |to )translat(?:e|ion|ing)\b"),
    _cue(Domain.TRANSLATION, 3, r"\btranslat(?:e[ds]?|ions?|ing|or)\b"),
    _cue(
        Domain.TRANSLATION, 3, rf"\btranslat[^\n]{{0,200}}\b(?:in|into|to|from) (?:\w{{1,12}} )?(?:{_LANGUAGE_NAMES})\b"
    ),
    _cue(
        Domain.TRANSLATION,
        7,
        rf"\b(?:say|said|express(?:ed)?|called|put)\b[^\n]{{0,120}} in (?:{_LANGUAGE_NAMES})\s?\??|"
        rf"\b(?:the )?(?:{_LANGUAGE_NAMES}) (?:translation|version|word|equivalent|phrase) (?:of|for)\b|"
        rf"\b(?:from|to|into) (?:{_LANGUAGE_NAMES})\s{{0,3}}[:.?]?\s{{0,3}}$|\b(?:convert|render|"
        rf"turn) [^\n]{{0,60}} (?:in)?to "
        rf"(?:{_LANGUAGE_NAMES})\b",
    ),
    _cue(
        Domain.TRANSLATION,
        8,
        r"翻译|译成|译为|译文|用(?:英|日|法|德|韩|西班牙|中|俄)(?:语|文)(?:怎么|如何|表达)|翻訳|訳して|번역|"
        r"переведи|перевод|"
        r"\b(?:traduc(?:e|ir|ción|ci)|traduz\w{0,4}|traduis\w{0,4}|tradui(?:re|t)|tradurre|traduci|"
        r"übersetz\w{0,4}|vertaal|"
        r"przetłumacz|přelož\w{0,3}|terjemahkan|çevir\w{0,3})\b|ترجم|תרגם|अनुवाद|แปล|перекла[дс]",
    ),
)

_SENTIMENT: Final = (
    _cue(Domain.SENTIMENT, 8, r"\bsentiments?\b|\bpolarity\b|\bopinion mining\b"),
    _cue(
        Domain.SENTIMENT,
        8,
        r"\b(?:positive(?:ly)?|negative(?:ly)?)[\s,'\"/|]{1,6}(?:(?:or|and|neutral|mixed)[\s,'\"/|]{1,6}){0,3}"
        r"(?:negative|positive|neutral)\b[^\n]{0,40}(?!integers?|numbers?)",
    ),
    _cue(
        Domain.SENTIMENT,
        6,
        r"\b(?:emotions?|emotional tone|mood|feelings?|attitude|tone)\b[^.\n]{0,30}\b(?:of|in|behind|"
        r"expressed|conveyed|"
        r"detected?)\b[^.\n]{0,30}\b(?:text|sentence|review|tweet|comment|message|post|author|writer|speaker|"
        r"customer|feedback|"
        r"passage)",
    ),
    _cue(
        Domain.SENTIMENT,
        6,
        r"\b(?:is|was|are|classify|label|rate|judge)\b[^.\n]{0,30}\b(?:review|tweet|comment|feedback)s?\b[^\n]{0,60}"
        r"\b(?:positive|negative|happy|angry|satisfied|favou?rable|sarcas)",
    ),
    _cue(
        Domain.SENTIMENT,
        6,
        r"\b(?:did|does|do|was|is) (?:the |this )?(?:reviewer|customer|author|writer|critic|user|speaker|viewer)s?\b"
        r"[^\n]{0,20}\b(?:like|enjoy|feel|recommend|satisfied|happy|angry|disappointed)",
    ),
    _cue(
        Domain.SENTIMENT,
        8,
        r"情感(?:分析|倾向|分类|极性|色彩)|情绪(?:分析|分类|倾向|是)|(?:积极|正面|褒义)[^\n]{0,6}(?:消极|负面|"
        r"贬义)|感情分析|"
        r"ポジティブ[^\n]{0,6}ネガティブ|감정 ?분석|тональност|\bsentimientos? de|analyse des sentiments|"
        r"stimmungsanalyse|"
        r"\bsentimento\b|تحليل المشاعر",
    ),
)

_MATH: Final = (
    _cue(
        Domain.MATH,
        4,
        r"\\(?:frac|sqrt|sum|int|cdot|times|left|begin|text|angle|triangle|pi|leq?|geq?|dots|overline|binom|"
        r"boxed|pmod|log|"
        r"sin|cos|tan|infty|circ|equiv)\b",
        anywhere=True,
    ),
    _cue(Domain.MATH, 3, r"\$[^$\n]{1,80}\$"),
    _cue(
        Domain.MATH,
        3.5,
        r"\b(?:calculate|compute|evaluate|simplify|factor|differentiate|integrate|prove that|solve (?:for|the|this)|"
        r"find (?:the|all|two|a)|determine the|what is the|express)\b[^.\n]{0,50}"
        r"\b(?:value|sum|product|area|perimeter|volume|radius|angle|degrees?|equations?|roots?|remainder|"
        r"probability|integral|"
        r"derivative|integers?|fraction|percent(?:age)?|average|mean|median|ratio|slope|digit|divisors?|"
        r"factors?|solutions?|"
        r"polynomial|matrix|determinant|length of|number of (?:ways|pairs|integers|positive)|velocity|voltage|interest|"
        r"multiple|base \d|term|vector|intercept|function f|expression)",
    ),
    _cue(
        Domain.MATH,
        2.5,
        r"\b(?:what|which|how many|find|compute|determine)\b[^.\n?]{0,50}\b(?:sum of|product of|coefficient|remainder|"
        r"greatest|smallest|least|largest|multiple of|divisible|divisors?|number of ways|ways (?:are there|can)|"
        r"probability|digit|integers?|prime|difference between the (?:largest|smallest)|units digit|positive)\b",
    ),
    _cue(
        Domain.MATH,
        2.5,
        r"\b(?:theorem|polynomials?|quadratic|triangle|hypotenuse|isosceles|rectangle|parallelogram|"
        r"circumference|prime number|"
        r"(?:positive|negative|consecutive) integers?|logarithm|trigonometr\w{1,4}|derivative|integral|"
        r"eigenvalues?|modulo|"
        r"arithmetic|algebra|geometr(?:y|ic)|probabilit(?:y|ies)|permutations?|combinatori\w{1,4}|x-axis|y-axis|"
        r"real numbers?|complex numbers?|units digit|math(?:s|ematics|ematical)?)\b",
    ),
    _cue(
        Domain.MATH,
        3,
        r"\b[a-z0-9)]{1,6} ?[-+*/^×÷=] ?\(?-?\d{0,6}[a-z(]?\d{0,6} ?[-+*/^×÷=] ?\(?-?\d|\b[xyn]\^\d|"
        r"\d ?[×÷√] ?\d|\b\d+ ?[*+/] ?\d+\b",
    ),
    _cue(
        Domain.MATH,
        5,
        r"\d[^\n]{0,200}(?:多少|几(?:个|只|本|元|天|人|米|千克|分|倍|小时|支|页|棵|岁|辆|盒|次|条|块|箱)|"
        r"百分之几|几分之几)|"
        r"(?:计算|求(?:解|出)?|解方程|化简)[^\n]{0,40}\d|方程|数学|三角形|概率|面积是|\d[^\n]{0,60}(?:いくつ|"
        r"いくら|何人|몇 )",
    ),
    _cue(
        Domain.MATH,
        4,
        r"\d[^\n]{0,300}\b(?:cuánt[oa]s?|combien|wie ?viele?|quant[oi]|quantas?|hoeveel|ile)\b|\d[^\n]{0,300}сколько|"
        r"\b(?:calcula|berechne|calcule[rz]?|calcola|oblicz)\b|вычисли|реши",
    ),
    _cue(
        Domain.MATH,
        1.5,
        r"(?:[$€£¥] ?\d|\d ?%|\d ?(?:percent|dollars|cents|miles|pounds|hours|minutes|meters|feet|inches|km|kg)\b)",
    ),
)

_CREATIVE: Final = (
    _cue(
        Domain.CREATIVE,
        6,
        rf"\b(?:{_MAKE})\b[^.\n]{{0,70}}\b(?:poems?|poetry|haikus?|limericks?|sonnets?|stor(?:y|ies)|songs?|"
        rf"lyrics|rap|novels?|"
        r"fairy ?tales?|fables?|screenplays?|fan ?fic(?:tion)?s?|monologues?|scene|jokes?|riddles?|parod(?:y|"
        r"ies)|narrative|"
        r"plot|epic|ballad|villain|fiction|diary entr(?:y|ies)|backstory|comedy|sketch|episode|puns?|skit)\b",
    ),
    _cue(
        Domain.CREATIVE,
        5,
        rf"\b(?:{_MAKE}|announce|announcing|catchy|post)\b[^.\n]{{0,70}}\b(?:essays?|articles?|blogs?|"
        rf"blog ?posts?|posts?|tweets?|captions?|slogans?|"
        r"taglines?|titles?|headlines?|names? for|biograph(?:y|ies)|bio|product descriptions?|"
        r"adverti[sz]ements?|ads?|ad copy|marketing "
        r"(?:materials?|copy)|brochure|speech|eulogy|toast|script|presentation|news report|press release|commercial|"
        r"description(?:s)? (?:for|of|that|focus)|dialogue|conversation between|video|copy)\b",
    ),
    _cue(
        Domain.CREATIVE,
        5,
        r"\b(?:in the style of|in the voice of|role-?play|act as|act like|pretend|imagine (?:you|that you|being|a )|"
        r"embody|speaking style|first[- ]person|third[- ]person|creative writing|short story|rhym(?:e|ing)|"
        r"stay in character|once upon a time|"
        r"you are (?:now )?(?:a|an|the) (?!given\b)(?:\w{1,15} ){0,3}(?:pirate|wizard|detective|dragon|"
        r"vampire|knight|king|"
        r"queen|robot|superhero|villain|character|god|alien|narrator|poet|novelist|storyteller))",
    ),
    _cue(Domain.CREATIVE, 8, r"\[ ?(?:wp|cw|eu|tt|ip|pi|sp|mp|rf|pm|tmt) ?\]"),
    _cue(Domain.CREATIVE, 2.5, r"\b(?:instagram|facebook|twitter|linkedin|tiktok|youtube|seo)\b"),
    _cue(Domain.CREATIVE, 2, r"\b\d{3,5}[- ]words?\b|\b(?:characters?|protagonist|antagonist|genre|prose)\b"),
    _cue(
        Domain.CREATIVE,
        6,
        r"(?:写|创作|编写?|续写|撰写|生成|构思|编造|作|添加|拟)[^\n。]{0,40}(?:故事|诗|歌曲?|小说|歌词|散文|"
        r"作文|短文|文章|童话|寓言|剧本|对话|"
        r"广告|标语|口号|文案|标题|随笔|议论文|宣传语|演讲稿?|日记|笑话|新闻(?:稿|报道)?|描述|博客|段落|情节|"
        r"结尾|开头|段子|台词)|续写|以[^\n]{1,20}为题|"
        r"扮演|(?:物語|小説|詩|俳句)を|(?:시|소설|이야기)를",
    ),
    _cue(
        Domain.CREATIVE,
        6,
        r"\b(?:escrib\w{0,4}|écri[st]\w{0,3}|schreibe?|scriv[ie]\w{0,3}|escrev[ae]\w{0,3}|schrijf|napisz|"
        r"crea)\b[^.\n]{0,40}\b(?:poema|cuento|"
        r"historia|canción|poème|histoire|conte|chanson|gedicht|geschichte|lied|poesia|storia|racconto|"
        r"canzone|história|"
        r"canção|verhaal|wiersz|opowiadanie|artículo|artikel|ensayo|article|articolo|artigo)\b|"
        r"(?:напиши|придумай|сочини)[^.\n]{0,60}(?:стих|рассказ|сказк|истори|песн|слоган|стать|текст|сценари)|"
        r"(?:اكتب|أكتب)[^\n]{0,30}(?:قصة|قصيدة|سكريبت|مقال)",
    ),
)

_FACTUAL: Final = (
    _cue(
        Domain.FACTUAL,
        3,
        r"^\W{0,3}(?:who|whom|whose|which|when|what|where|why|how (?:does|did|do|is|are|was|were|long|old|far|"
        r"tall|big|many|much|often))\b",
    ),
    _cue(
        Domain.FACTUAL,
        2,
        r"\b(?:in|of|for|near|after|before|during|between|from|by|on|at|with|to|under|after|the) (?:what|"
        r"which|whom|whose)\b|"
        r"(?<=\w )\b(?:who|which|what|where|when)\b[^?\n]{0,80}\?|\b(?:called|named|is|was|by|of|the|an?)\?$",
    ),
    _cue(
        Domain.FACTUAL,
        4,
        r"\b(?:true or false|is it true|is this true|fact[- ]?check|verify (?:the|this|whether|if)|"
        r"(?:accuracy|validity|"
        r"truth|correctness) of (?:the|this|that)?|confirm (?:if|whether|that)|fill in the blank|"
        r"do you know (?:the|who|what|"
        r"when|where|if))\b",
    ),
    _cue(
        Domain.FACTUAL,
        3,
        r"^\W{0,3}(?:(?:can|could) you |please |kindly )?(?:explain|define|describe|elaborate|tell me about|"
        r"clarify|elucidate)\b|"
        r"\b(?:what (?:is|are) (?:the )?(?:difference|meaning|purpose|function|name)|difference between|"
        r"meaning of|definition of|"
        r"capital of|population of|history of|causes? of|how does)\b",
    ),
    _cue(
        Domain.FACTUAL,
        1.5,
        r"\b(?:film|movie|actor|actress|singer|band|author|president|king|queen|war|battle|river|country|"
        r"state|city|century|year|season|episode|team|world cup|born|died|founded|won|wrote|sang|played|plays|"
        r"discovered|invented|nickname|novel|album|series|capital|island|ocean|planet|species|element|disease)\b",
    ),
    _cue(Domain.FACTUAL, 2, r"(?:\(?\b[A-E][).] {0,2}[^\n]{1,120}\s{1,4}){3}"),
    _cue(
        Domain.FACTUAL,
        5,
        r"什么是|是什么|是谁|为什么|为何|哪(?:个|些|里|位|一|年|种|国)|何时|什么时候|解释|介绍|(?:有|是|指|"
        r"叫)什么|多(?:大|长|高|远|少年)|"
        r"是(?:怎么|如何|怎样)|区别|定义|含义|意思|回答(?:这个|以下|下列|问题)|原因|是否|吗[？?]|"
        r"描述(?:一下)?|影响|作用|历史|工作原理|还是|导致|(?:回答|解答)[^\n]{0,8}问题|获得|叙述|简述|陈述|说明|阐述|"
        r"とは(?:何|なん)|ですか|무엇|누구|왜 ",
    ),
    _cue(
        Domain.FACTUAL,
        4,
        r"^\W{0,3}(?:qu[ée]|qui[ée]n|cu[áa]l(?:es)?|cu[áa]ndo|d[óo]nde|qui|quel(?:le)?s?|quand|où|pourquoi|"
        r"wer|was|wann|wo|warum|chi|"
        r"quando|dove|perché|quem|qual|onde|wie|waarom|wanneer|kto|kiedy|gdzie|кто|что такое|когда|где|почему)\b|"
        r"^(?:ما هو|ما هي|من هو|متى|أين|لماذا)",
    ),
)

_GENERAL: Final = (
    _cue(
        Domain.GENERAL,
        6,
        r"\b(?:summar(?:y|i[sz]e[sd]?|i[sz]ing|ies|i[sz]ation)|tl;?dr|sum (?:up|the following)|in a nutshell|in brief|"
        r"paraphrase|rephrase|reword|proofread|condense|make a title for this|bullet points?|key points|shorten)\b",
    ),
    _cue(
        Domain.GENERAL,
        5,
        r"\b(?:e-?mails?|cover letter|(?:an? |formal |business |thank[- ]you )letter|letter (?:to|of)|resume|"
        r"résumé|cv|contract|agreement|polic(?:y|ies)|business plan|proposal|"
        r"memo|report|job (?:application|description)|white ?paper|outline|lesson plan|syllabus|agenda|"
        r"itinerary|checklist|"
        r"recipes?|meal|schedule|guide|manual|documentation|document|abstract|scientific paper|research paper|survey|"
        r"questionnaire|table of|invoice|terms (?:of|and)|nda|lawsuit|legal)\b",
    ),
    _cue(
        Domain.GENERAL,
        4,
        r"\b(?:how (?:to|do i|best to|can i|should i|do you|can we|would i|could i)|should i|advice|advise|"
        r"suggest(?:ions?)?|recommend(?:ations?)?|"
        r"brainstorm|ideas?|tips|ways to|plan (?:for|a|my|to)|help me|what (?:should|can|would|could|might|"
        r"do you think)|"
        r"steps to|strateg(?:y|ies)|examples? of|pros and cons|compare|best (?:way|place|laptop|phone))\b",
    ),
    _cue(
        Domain.GENERAL,
        4,
        r"^\W{0,3}(?:please |kindly |can you |could you )?(?:list|name (?!the (?:\w{1,20} ){0,3}(?:actor|film|"
        r"country))|rewrite|edit|extract|identify|classify|categori[sz]e|"
        r"organi[sz]e|analy[sz]e|critique|review|rank|improve|revise|correct|find the (?:topic|keyword)|"
        r"figure out|plan|suggest|recommend|provide)\b",
    ),
    _cue(
        Domain.GENERAL,
        3.5,
        r"\b(?:would|might|could|(?<!most )likely|probably|do you think|your opinion|in your view|is it (?:ok|"
        r"okay|ethical|right|wrong|better)|"
        r"what if|hypothetical(?:ly)?|suppose|better(?! known))\b[^\n]{0,150}\?",
    ),
    _cue(
        Domain.GENERAL,
        3,
        r"\b(?:topics?|keywords?|entit(?:y|ies)|named entit|paragraph|grammar|the following (?:text|article|"
        r"passage|dialogue|"
        r"paragraph|sentence)|dialogue|instructions?|the (?:above|below) (?:text|dialogue|passage|article))\b",
    ),
    _cue(
        Domain.GENERAL,
        6,
        r"总结|摘要|概括|归纳|提取|抽取|列举|列出|推荐|建议|改写|润色|修改|如何|怎么办|怎样|方法|计划|方案|"
        r"清单|邮件|简历|合同|食谱|菜谱|技巧|"
        r"想法|创意|头脑风暴|提供[^\n]{0,12}(?:方案|点子|例子)|措施|步骤|要約|まとめて|教えて|おすすめ|요약|추천",
    ),
    _cue(
        Domain.GENERAL,
        4,
        r"\b(?:resum(?:e|ir|en)|résum(?:e|er|é)|zusammenfass\w{0,4}|riassum\w{0,4}|recomienda|cómo (?:puedo|hacer)|"
        r"comment (?:faire|puis)|wie kann ich|come posso|como posso|carta|lettre|brief|receta|recette|rezept|correo)\b|"
        r"как (?:мне|сделать|лучше)|посоветуй|составь|كيف",
    ),
)

CUES: Final = (*_CODING, *_TRANSLATION, *_SENTIMENT, *_MATH, *_CREATIVE, *_FACTUAL, *_GENERAL)
