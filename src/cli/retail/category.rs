//! A category for every title: the first of [`RULES`] one of whose phrases is in the title, as whole words,
//! singular or plural. Occasions come first (a Christmas candle is looked for under Christmas), then the
//! particular, then the general.

/// Where everything goes that no rule knows.
const OTHER: &str = "Curiosities";

const RULES: &[(&str, &[&str])] = &[
    (
        "Christmas",
        &[
            "CHRISTMAS",
            "XMAS",
            "SANTA",
            "REINDEER",
            "ADVENT",
            "BAUBLE",
            "SNOWFLAKE",
            "SNOWMAN",
            "NATIVITY",
            "YULETIDE",
            "NOEL",
            "WISE MAN",
        ],
    ),
    ("Easter", &["EASTER", "RABBIT", "BUNNY", "CHICK", "HEN"]),
    (
        "Jewellery",
        &[
            "NECKLACE",
            "BRACELET",
            "EARRING",
            "RING",
            "BROOCH",
            "PENDANT",
            "BANGLE",
            "DIAMANTE",
            "CHARM",
            "CHOKER",
            "LARIAT",
            "JEWELLERY",
            "ANKLET",
            "KEYRING",
            "PHONE CHARM",
        ],
    ),
    (
        "Hair and fashion",
        &[
            "HAIR",
            "HAIRSLIDE",
            "HAIRCLIP",
            "SCARF",
            "SLIPPER",
            "HAT",
            "GLOVE",
            "UMBRELLA",
            "PARASOL",
            "PURSE",
            "WALLET",
            "SLEEPING",
            "KIMONO",
            "COMB",
            "SOCKS",
        ],
    ),
    ("Warmers", &["HOT WATER BOTTLE", "HAND WARMER", "HOTTIE", "HEAT PACK"]),
    ("Bags", &["BAG", "SHOPPER", "HANDBAG", "LUGGAGE", "TOTE", "RUCKSACK", "SATCHEL", "BACKPACK", "WASHBAG"]),
    ("Candles and holders", &["CANDLE", "T LIGHT", "TEALIGHT", "TLIGHT", "CANDLESTICK", "CANDLEHOLDER", "SNUFFER"]),
    ("Lamps and lanterns", &["LIGHT", "LAMP", "LANTERN", "CHANDELIER", "LAMPSHADE", "TORCH", "LED"]),
    ("Scents", &["INCENSE", "POTPOURRI", "SCENTED", "FRAGRANCE", "OIL BURNER", "LAVENDER", "PERFUME", "SACHET"]),
    ("Bath", &["BATH", "BATHROOM", "SOAP", "TOOTHBRUSH", "SPONGE", "BALM", "SHOWER", "TOILET", "TISSUE", "TISSUES"]),
    ("Baking", &["CAKE", "CUPCAKE", "BAKING", "JELLY", "COOKIE", "BISCUIT", "ROLLING PIN", "PASTRY", "MUFFIN"]),
    ("Kitchen textiles", &["TEA TOWEL", "APRON", "OVEN GLOVE", "PEG BAG", "NAPKIN", "TABLECLOTH", "TABLE CLOTH"]),
    ("Tea and coffee", &["TEA", "TEACUP", "TEAPOT", "TEATIME", "COFFEE", "MUG", "CUP", "SAUCER"]),
    ("Picnic and lunch", &["LUNCH", "PICNIC", "FLASK", "SNACK", "BOTTLE", "BARBECUE", "COOL BOX", "BEAKER"]),
    (
        "Dining",
        &[
            "PLATE",
            "BOWL",
            "DISH",
            "TUMBLER",
            "GOBLET",
            "COASTER",
            "PLACEMAT",
            "CUTLERY",
            "JUG",
            "PLATTER",
            "WINE",
            "CHOPSTICK",
            "EGG",
            "COCKTAIL",
            "TOASTRACK",
            "DINER",
            "GLASSES",
        ],
    ),
    (
        "Kitchen",
        &[
            "KITCHEN",
            "SPOON",
            "PANTRY",
            "JAR",
            "TRAY",
            "SCALE",
            "RECIPE",
            "PAN",
            "FORK",
            "KNIFE",
            "CHOPPING",
            "COLANDER",
            "BREAD",
            "SPICE",
            "WHISK",
            "MEASURING",
            "TIMER",
            "FRIDGE",
            "MAGNET",
            "TRIVET",
        ],
    ),
    (
        "Party",
        &[
            "PARTY",
            "BUNTING",
            "GARLAND",
            "BALLOON",
            "BIRTHDAY",
            "STREAMER",
            "CONFETTI",
            "PAPER CHAIN",
            "WEDDING",
            "PINATA",
            "BIRTHDAYS",
        ],
    ),
    ("Cards and wrap", &["CARD", "WRAP", "GIFT TAG", "RIBBON", "GIFT BOX", "ENVELOPE", "GIFT TAPE", "TAG"]),
    (
        "Stationery",
        &[
            "NOTEBOOK",
            "PENCIL",
            "PEN",
            "ERASER",
            "RUBBER",
            "STICKER",
            "STAMP",
            "JOURNAL",
            "TAPE",
            "PAPER",
            "CALENDAR",
            "MEMO",
            "LETTER",
            "PASSPORT",
            "RULER",
            "CHALKBOARD",
            "BLACKBOARD",
            "DIARY",
            "BOOK",
            "CLIP",
            "PAD",
            "LABEL",
        ],
    ),
    ("Craft and sewing", &["SEWING", "KNITTING", "CRAFT", "FELT", "BEAD", "EMBROIDERY", "PATCH", "BUTTON", "CROCHET"]),
    (
        "Toys and games",
        &[
            "TOY", "GAME", "PUZZLE", "DOLL", "MARBLE", "SKITTLE", "DOMINO", "DICE", "SOLDIER", "BALL", "YOYO", "YO YO",
            "SPINNING", "PLAYING", "JIGSAW", "KITE", "SKIPPING", "ROBOT", "MAGIC", "BINGO", "TEDDY", "SOFT",
        ],
    ),
    (
        "Children",
        &["CHILD", "CHILDREN", "CHILDS", "BABY", "GIRL", "BOY", "SPACEBOY", "DOLLY", "KID", "NURSERY", "CHILDRENS"],
    ),
    ("Frames and photographs", &["FRAME", "PHOTO", "ALBUM", "PICTURE"]),
    ("Clocks and mirrors", &["CLOCK", "MIRROR"]),
    ("Signs", &["SIGN", "PLAQUE", "NUMBER TILE"]),
    ("Wall art", &["WALL", "ART", "PRINT", "CANVAS", "POSTER", "TILE"]),
    (
        "Soft furnishings",
        &["CUSHION", "QUILT", "THROW", "BLANKET", "CURTAIN", "FABRIC", "DOILY", "RUG", "PILLOW", "BEANBAG", "POUFFE"],
    ),
    (
        "Doors and hooks",
        &["DOORMAT", "DOOR MAT", "DOORSTOP", "DOOR", "HOOK", "HANGER", "KNOB", "KEY", "BELL", "DRAWER KNOB"],
    ),
    (
        "Garden",
        &[
            "GARDEN",
            "PLANT",
            "PLANTER",
            "WATERING",
            "BIRD",
            "HERB",
            "SEED",
            "POT",
            "FLOWERPOT",
            "BUCKET",
            "WINDMILL",
            "TROWEL",
            "GROW",
            "FLOWER",
        ],
    ),
    (
        "Storage",
        &[
            "BOX", "BASKET", "CABINET", "DRAWER", "CHEST", "TIN", "STORAGE", "CRATE", "TIDY", "TRINKET", "SUITCASE",
            "RACK", "SHELF", "CASE", "TUBE", "BIN",
        ],
    ),
    ("Furniture", &["CHAIR", "TABLE", "STOOL", "BENCH", "STAND", "CUPBOARD", "WARDROBE", "BED"]),
    (
        "Decorations",
        &[
            "DECORATION",
            "HANGING",
            "HEART",
            "ORNAMENT",
            "WREATH",
            "STAR",
            "VASE",
            "TREE",
            "ANGEL",
            "FAIRY",
            "FEATHER",
            "BUTTERFLY",
            "CRYSTAL",
            "CHIME",
            "ROSE",
            "MOBILE",
            "DECOUPAGE",
            "PEBBLE",
        ],
    ),
];

pub fn category_of(title: &str) -> &'static str {
    let words = spaced(title);
    RULES
        .iter()
        .find(|(_, phrases)| phrases.iter().any(|phrase| has_phrase(&words, phrase)))
        .map_or(OTHER, |(category, _)| category)
}

/// The title in upper case, its words each between single spaces.
fn spaced(title: &str) -> String {
    let mut words = String::from(" ");
    for c in title.chars().flat_map(char::to_uppercase) {
        match c {
            c if c.is_alphanumeric() => words.push(c),
            // "DAD'S" is one word
            '\'' => {}
            _ if !words.ends_with(' ') => words.push(' '),
            _ => {}
        }
    }
    if !words.ends_with(' ') {
        words.push(' ');
    }
    words
}

fn has_phrase(words: &str, phrase: &str) -> bool {
    words.match_indices(phrase).any(|(at, _)| {
        let rest = &words[at + phrase.len()..];
        words[..at].ends_with(' ') && (rest.starts_with(' ') || rest.starts_with("S ") || rest.starts_with("ES "))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn titles_find_their_category_by_whole_words() {
        for (title, category) in [
            ("15CM CHRISTMAS GLASS BALL 20 LIGHTS", "Christmas"),
            ("PINK CHERRY LIGHTS", "Lamps and lanterns"),
            ("WHITE HANGING HEART T-LIGHT HOLDER", "Candles and holders"),
            ("HOT WATER BOTTLE TEA AND SYMPATHY", "Warmers"),
            ("RECORD FRAME 7\" SINGLE SIZE", "Frames and photographs"),
            ("STRING OF PEARLS", OTHER),
            ("SET OF 3 CAKE TINS PANTRY DESIGN", "Baking"),
            ("TEA TOWEL UNION FLAG", "Kitchen textiles"),
            ("", OTHER),
        ] {
            assert_eq!(category_of(title), category, "{title}");
        }
    }

    #[test]
    fn there_are_a_few_dozen_categories_and_none_twice() {
        let mut names: Vec<&str> = RULES.iter().map(|(name, _)| *name).collect();
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), RULES.len());
        assert!(names.len() < 48);
    }
}
