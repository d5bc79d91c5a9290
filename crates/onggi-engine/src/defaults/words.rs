//! What a container is called when nobody says: a glaze and a vessel, or what is kept in one.

/// How it looks.
const LOOKS: [&str; 48] = [
    "amber", "ashen", "auburn", "azure", "brisk", "bronze", "burnt", "calm", "clear", "cobalt", "copper", "coral",
    "crisp", "dusky", "early", "fired", "gentle", "glazed", "golden", "hazel", "humble", "indigo", "ivory", "jade",
    "keen", "lively", "lunar", "mellow", "mild", "misty", "mossy", "nimble", "ochre", "olive", "pale", "plain",
    "quiet", "round", "russet", "salted", "silver", "smoky", "snowy", "sunny", "tawny", "umber", "velvet", "warm",
];

/// What it is.
const THINGS: [&str; 48] = [
    "amphora", "anchovy", "apron", "barley", "basil", "beaker", "bowl", "brine", "cabbage", "carafe", "chestnut",
    "chive", "clay", "crock", "cup", "ember", "ewer", "fern", "ginger", "hearth", "honey", "jar", "jug", "kettle",
    "kiln", "ladle", "lantern", "lid", "maple", "miso", "pantry", "pear", "pepper", "pitcher", "plum", "pot", "quince",
    "radish", "saucer", "sesame", "shelf", "spoon", "tile", "turnip", "urn", "vase", "walnut", "wheel",
];

/// The name that `seed` chooses; from the third attempt on with a number, so that crowds are no problem.
pub(crate) fn name(seed: [u8; 4], attempt: u32) -> String {
    let pick = |list: &'static [&'static str], byte: u8| list[usize::from(byte) % list.len()];
    let (look, thing) = (pick(&LOOKS, seed[0]), pick(&THINGS, seed[1]));
    match attempt {
        0 | 1 => format!("{look}-{thing}"),
        _ => format!("{look}-{thing}-{}", u16::from_be_bytes([seed[2], seed[3]])),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_name_is_a_name_and_none_is_twice() {
        for list in [LOOKS, THINGS] {
            let mut sorted = list.to_vec();
            sorted.sort_unstable();
            sorted.dedup();
            assert_eq!(sorted.len(), list.len());
        }
        for byte in 0..=255 {
            assert!(name([byte, 255 - byte, 1, 2], 2).parse::<crate::Name>().is_ok());
        }
    }
}
