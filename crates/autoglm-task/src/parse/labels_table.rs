//! The phrases that introduce labels, and the labels that are usual for a subject.

/// How the list follows a lead-in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Follow {
    /// The list begins behind the match and announces labels.
    Announced,
    /// The list begins behind the match.
    List,
    /// The list begins behind the match and its last item is joined by a word such as `or`.
    OrList,
    /// The first group is the list.
    Group,
    /// The groups are two labels.
    Pair,
    /// The groups are the first and last of a range of whole numbers.
    Numbers,
}

/// What introduces labels, the surest first.
pub(super) const LEAD_INS: &[(Follow, &str)] = &[
    (
        Follow::Announced,
        r"\b(?:labels?|categor(?:y|ies)|class(?:es)?|tags?|options?|choices|topics|intents|sentiments|emotions|answers?|values|departments|types|genres|buckets|groups)\b[^.!?:\n]{0,24}[:：=]",
    ),
    (
        Follow::Announced,
        r"\b(?:labels|categories|classes|tags|options|choices|topics|intents|possible answers|values)\b (?:are|is|being|include|come from|such as|like|namely)\b",
    ),
    (
        Follow::Announced,
        r"\b(?:labels|categories|classes|tags|topics)\b",
    ),
    (
        Follow::Announced,
        r"(?:标签|类别|选项|类型|种类|意图|情绪|情感|主题|话题|答案|分类|取值|档次|等级|领域|语气)(?:集合|列表|名称|共)?(?:有|包括|包含|分别)?(?:为|是|如下|有|取自|仅限于|只能是)?(?:以下|如下)?(?:[一二两三四五六七八九十\d]+(?:种|类|个)?)?\s*[：:]",
    ),
    (
        Follow::Announced,
        r"(?:标签|类别|选项|意图|主题|话题|取值)(?:集合|共)?(?:有|包括|包含|分别)?(?:为|是|有|包括|包含|取自|从)",
    ),
    (
        Follow::Announced,
        r"(?:以下|下列|下面|如下)[^，。！？\n]{0,12}(?:之一|一个|一种|一类|类别|标签|类|选项|几类|几种)(?:中的?一[个种类])?\s*(?:[：:]|中)",
    ),
    (
        Follow::Announced,
        r"(?:分为|分成|归为|归类为|归到|归入|归类到|归类成|分类为|分类成|分类到|分到|划分为|划分成|标注为|标注成|标记为|标记成|标为|标成|打上|判定为|判断为|判断成|判为|评为|区分为|分别归为|识别为|视为)(?:以下|下列|下面)?(?:[一二两三四五六七八九十几\d]+(?:种|类|个)(?:类别|标签)?(?:之一)?)?\s*[：:]?",
    ),
    (
        Follow::Group,
        r"(?:从|在|于)([^。！？\n]{3,80}?)(?:这?[一二两三四五六七八九十几\d]*(?:个|种|类|者)?(?:类别|标签|选项|词|情绪|意图)?)?(?:之?中|里|当中|之间|内)(?:只能)?(?:选|挑|任选|选择|区分|判断|做)",
    ),
    (
        Follow::Numbers,
        r"\b(?:from|between|of|scale)?\s*(\d{1,2})\s*(?:to|-|–|—|and|through)\s*(\d{1,2})\b(?:[- ]stars?| scale|\b)",
    ),
    (
        Follow::Numbers,
        r"(\d{1,2})\s*(?:到|至|-|–|~|～|—)\s*(\d{1,2})\s*(?:分|星|级|颗星|之间|的)",
    ),
    (
        Follow::Pair,
        r"\b(?:return|answer|output|reply|respond|say|print|write|give|use|put)(?: with)? [`'\x22“‘]?([^\s`'\x22”’,]{1,20})[`'\x22”’]? (?:if|when|for|in case)\b[^.!?\n]*?(?:otherwise|else|if not),?(?: (?:return|answer|output|say|with|it is|it's|write))* [`'\x22“‘]?([^\s`'\x22”’.,]{1,20})",
    ),
    (
        Follow::Pair,
        r"\b(?:return|answer|output|reply|respond|say|print|write|give|use|put)(?: with)? [`'\x22“‘]?([^\s`'\x22”’,]{1,20})[`'\x22”’]? (?:if|when|for)\b[^.!?\n]*?\b(?:and|or|,) [`'\x22“‘]?([^\s`'\x22”’.,]{1,20})[`'\x22”’]? (?:if|otherwise|when|for)\b",
    ),
    (
        Follow::Pair,
        r"(?:则?(?:回答|输出|返回|标为|标记为|标注为|写|记为|打))\s*[“‘「『\x22]?([^，。；“”‘’「」『』\x22\s]{1,8})[”’」』\x22]?\s*[，；,;。]?\s*(?:否则|不然|反之)(?:就|则)?(?:回答|输出|返回|标为|标记为|标注为|写|记为|打)?\s*[“‘「『\x22]?([^，。；“”‘’「」『』\x22\s]{1,8})",
    ),
    (
        Follow::Announced,
        r"\b(?:one|any|exactly one|only one) of\b(?: (?:the|these|those|following|\w+))??\s*(?:[:：]|\b)",
    ),
    (Follow::Announced, r"\bone of\b[^.!?:\n]{0,40}[:：]"),
    (
        Follow::Announced,
        r"\b(?:choose|pick|select)(?: (?:one|exactly one|only one|the best|either))?(?: (?:from|among|between|of|out of))?(?: the following)?\s*[:：]?",
    ),
    (
        Follow::List,
        r"\b(?:choose|pick|select)\b[^.!?:\n]{0,60}\b(?:from|among|between|out of)\b|\b(?:either|between|distinguish)\b|区分|辨别",
    ),
    (
        Follow::Group,
        r"[(（\[【]([^()（）\[\]【】\n]{2,160})[)）\]】]",
    ),
    (
        Follow::List,
        r"\bas\b(?: (?:either|being|one of|exactly one of))?",
    ),
    (Follow::List, r"\binto\b(?: (?:either|one of))?"),
    (
        Follow::List,
        r"\bunder\b|\bwith (?:one of |either |a |an |the )?",
    ),
    (
        Follow::OrList,
        r"\b(?:is|are|was|were|be|sounds?|seems?|feels?|looks?|express(?:es)?|conveys?|has|have|shows?|contains?|it's|its|reads?)\b(?: (?:mostly|mainly|more|rather|about|a|an|the|either)\b)*",
    ),
    (
        Follow::OrList,
        r"\b(?:answer|answering|say|reply|respond|return|output|print|write|give|use)(?: only)?(?: with)?(?: only| just| the word| the words| a single)?\b\s*[:：]?",
    ),
    (
        Follow::Announced,
        r"(?:只?(?:需)?(?:能|要|用)?(?:回答|输出|返回|答|填))(?:为|出)?(?:一个词|标签)?\s*[：:]?",
    ),
    (
        Follow::OrList,
        r"属于|到底是|究竟是|是|算是?|偏向?|倾向(?:于|是|为)?|为|看看|看|认为|选择|选|想要?",
    ),
    (Follow::List, r"\b(?:to|in|by|for)\b"),
    (Follow::OrList, r"^\s*"),
];

/// Words that ask for a yes or a no.
pub(super) const BOOLEAN: &[&str] = &[
    r"\b(?:decide|determine|check|judge|tell me|tell|predict|detect|assess|see|find out|say|identify|figure out|verify|state|indicate|evaluate|classify|know|label|guess|mark)(?: (?:each|the|every|this) \w+(?: \w+)? by)? (?:if|whether)\b",
    r"(?:^|[.!,:;\n]\s*)(?:is|are|was|were|does|do|did|has|have|should) (?:the|this|these|that|it|an?|both|two|there|my|our|someone|they)\b[^.!\n?]*\?",
    r"是否|是不是|有没有|有无|能否|会不会|可不可以|能不能|对不对|行不行|吗\s*[？?]?\s*$|吗[？?]",
];

/// Subjects with the labels that are usual for them: the subject, what names it, English labels,
/// Chinese labels. The label in the middle of three that begins with `?` is taken where the text
/// speaks of a third way.
pub(super) const CUSTOMARY: &[(&str, &str, &[&str], &[&str])] = &[
    (
        "true or false",
        r"\btrue (?:or|/|and) false\b|\bfact[- ]check|真假|真伪|属实",
        &["true", "false"],
        &["真", "假"],
    ),
    (
        "right or wrong",
        r"\bcorrectness\b|对错|正误",
        &["correct", "incorrect"],
        &["对", "错"],
    ),
    (
        "praise or blame",
        r"好评.{0,3}差评|好差评",
        &["positive", "negative"],
        &["好评", "差评"],
    ),
    (
        "praise or blame",
        r"褒贬",
        &["positive", "negative"],
        &["褒义", "贬义"],
    ),
    ("good or bad", r"好坏|优劣", &["good", "bad"], &["好", "坏"]),
    (
        "entailment",
        r"\bentail(?:s|ment)?\b|\bnli\b|natural language inference|蕴含|自然语言推理|推理关系",
        &["entailment", "neutral", "contradiction"],
        &["蕴含", "中立", "矛盾"],
    ),
    (
        "stance",
        r"\bstance\b|立场",
        &["favor", "against", "neutral"],
        &["支持", "反对", "中立"],
    ),
    (
        "sarcasm",
        r"\bsarcas(?:m|tic)\b|\biron(?:y|ic)\b|讽刺|反讽",
        &["sarcastic", "not sarcastic"],
        &["讽刺", "非讽刺"],
    ),
    (
        "spam",
        r"\bspam\b|\bjunk (?:mail|e-?mail)|垃圾(?:邮件|短信|信息|评论)",
        &["spam", "not spam"],
        &["垃圾", "正常"],
    ),
    (
        "phishing",
        r"\bphishing\b|\bscams?\b|\bfraud(?:ulent)?\b|诈骗|钓鱼|欺诈",
        &["fraud", "not fraud"],
        &["诈骗", "正常"],
    ),
    (
        "toxicity",
        r"\btoxic(?:ity)?\b|\bhate(?:ful)?\b|\boffensive\b|\babus(?:e|ive)\b|\bharass(?:ment|ing)\b|辱骂|仇恨|有害|攻击性|不文明|脏话|违规|恶意",
        &["toxic", "not toxic"],
        &["有害", "无害"],
    ),
    (
        "fake news",
        r"\bfake news\b|\bmisinformation\b|\brumou?rs?\b|谣言|假新闻|虚假",
        &["fake", "real"],
        &["谣言", "属实"],
    ),
    (
        "clickbait",
        r"\bclick-?bait\b|标题党",
        &["clickbait", "not clickbait"],
        &["标题党", "正常"],
    ),
    (
        "subjectivity",
        r"\bsubjectiv(?:e|ity)\b|主观|客观",
        &["subjective", "objective"],
        &["主观", "客观"],
    ),
    (
        "grammaticality",
        r"\bgrammatical(?:ity)?\b|\bacceptab(?:le|ility)\b|语病|通顺",
        &["acceptable", "unacceptable"],
        &["通顺", "有语病"],
    ),
    (
        "relevance",
        r"\brelevan(?:ce|t)\b|相关性",
        &["relevant", "irrelevant"],
        &["相关", "不相关"],
    ),
    (
        "similarity",
        r"\bparaphrases?\b|\bsame meaning\b|\bduplicates?\b|同义|语义相同|语义相似|意思相同",
        &["yes", "no"],
        &["是", "否"],
    ),
    (
        "urgency",
        r"\burgen(?:cy|t)\b|紧急程度|紧急性|是?紧急",
        &["urgent", "not urgent"],
        &["紧急", "不紧急"],
    ),
    (
        "priority",
        r"\bpriorit(?:y|ies)\b|\bseverity\b|优先级|严重程度|严重性",
        &["high", "medium", "low"],
        &["高", "中", "低"],
    ),
    (
        "formality",
        r"\bformality\b|正式程度",
        &["formal", "informal"],
        &["正式", "非正式"],
    ),
    (
        "difficulty",
        r"\bdifficulty\b|难度|难易",
        &["easy", "medium", "hard"],
        &["简单", "中等", "困难"],
    ),
    (
        "sentiment",
        r"\bsentiments?\b|\bpolarity\b|\b(?:positive|negative)(?:ness|ity)\b|\battitude\b|\bopinion mining\b|\bhow (?:\w+ )*feels?\b|情感|正负面|正负|情绪倾向|情绪(?:是)?(?:正|负)|态度|口碑|评价倾向|舆情|倾向|感情色彩|感情",
        &["positive", "?neutral", "negative"],
        &["正面", "?中性", "负面"],
    ),
    (
        "emotion",
        r"\bemotions?\b|\bmoods?\b|\bfeelings?\b|情绪|心情",
        &["joy", "sadness", "anger", "fear", "love", "surprise"],
        &["喜悦", "悲伤", "愤怒", "恐惧", "喜爱", "惊讶"],
    ),
    (
        "sentiment",
        r"\b(?:classify|rate|label|categori[sz]e)\b[^.!?\n]*\b(?:reviews?|feedback)\b|\btone\b|\bpositive\b.*\bnegative\b|评论(?:进行)?分类|影评分类|语气",
        &["positive", "?neutral", "negative"],
        &["正面", "?中性", "负面"],
    ),
];

/// What speaks of a third label between two.
pub(super) const THIRD_WAY: &str = r"\bneutral\b|\b(?:three|3)[- ]?(?:way|class|classes|categories|labels)\b|\bmixed\b|中性|中立|三(?:分)?类|三种|三个类别|三元";
