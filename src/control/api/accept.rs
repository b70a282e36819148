//! Content negotiation (RFC 9110, section 12.5.1) between a few media types.

/// The place in `offers` of the media type that `accept` likes best; of those liked equally, the first. An empty
/// `accept` takes anything. `None`: it takes none of them.
pub fn choose(accept: &str, offers: &[&str]) -> Option<usize> {
    let mut best: Option<(usize, f32)> = None;
    for (index, offer) in offers.iter().enumerate() {
        let quality = quality(accept, offer);
        if quality > best.map_or(0.0, |(_, quality)| quality) {
            best = Some((index, quality));
        }
    }
    best.map(|(index, _)| index)
}

/// How much `accept` wants the media type, `0.0..=1.0`: the most precise range that covers it decides.
fn quality(accept: &str, offer: &str) -> f32 {
    if accept.trim().is_empty() {
        return 1.0;
    }
    let kind = offer.split('/').next().unwrap_or("");
    let ranges = accept.split(',').filter_map(|range| {
        let mut parts = range.split(';').map(str::trim);
        let name = parts.next()?.to_ascii_lowercase();
        let precision = match name.strip_suffix("/*") {
            _ if name == offer => 2,
            Some("*") => 0,
            Some(group) if group == kind => 1,
            _ => return None,
        };
        let weight = parts.find_map(|part| part.strip_prefix("q=").or(part.strip_prefix("Q=")));
        let weight = weight.map_or(1.0, |text| text.parse().unwrap_or(0.0));
        Some((precision, f32::clamp(weight, 0.0, 1.0)))
    });
    ranges
        .max_by_key(|(precision, _)| *precision)
        .map_or(0.0, |(_, weight)| weight)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn choices_table() {
        let offers = ["application/json", "application/toml"];
        let rows = [
            ("", Some(0)),
            ("*/*", Some(0)),
            ("application/*", Some(0)),
            ("application/toml", Some(1)),
            ("Application/TOML, */*;q=0.1", Some(1)),
            ("application/json;q=0.5, application/toml;q=0.6", Some(1)),
            ("application/json;q=0, */*", Some(1)),
            ("application/toml; q=nan, application/json", Some(0)),
            ("text/html", None),
            ("application/json;q=0", None),
        ];
        for (accept, expected) in rows {
            assert_eq!(choose(accept, &offers), expected, "{accept}");
        }
    }
}
