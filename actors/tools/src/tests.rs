//! What is read and told of names, references, dates, deprecations and patterns.

mod grants;

use crate::{
    Date, DefinitionHash, Deprecation, HashPin, Problem, ToolName, ToolReference, ToolVersion,
    glob, tool_called,
};

const DAY_MS: u64 = 86_400_000;

#[test]
fn names_and_references_are_read_and_written() {
    let good = [
        "web-search",
        "a",
        "web-search@2",
        "web-search@4294967295",
        "web-search@2#5f3a90c1",
        "a23456789012345678901234567890123456789012345678",
    ];
    for text in good {
        let reference: ToolReference = text.parse().unwrap();
        assert_eq!(reference.to_string(), text);
    }
    let rule = "a tool's name, as in web-search, web-search@2 or web-search@2#5f3a90c1";
    let name = "1 to 48 of a-z, 0-9 and '-', a letter first, as in web-search";
    let version = "a whole number from 1, without a sign or zeros before it, as in 2";
    let bad = [
        ("", format!("name: '' is not {name}")),
        ("2go", format!("name: '2go' is not {name}")),
        ("web_search", format!("name: 'web_search' is not {name}")),
        ("Web", format!("name: 'Web' is not {name}")),
        ("web@", format!("version: '' is not {version}")),
        ("web@0", format!("version: '0' is not {version}")),
        ("web@02", format!("version: '02' is not {version}")),
        ("web@+2", format!("version: '+2' is not {version}")),
        ("web@4294967296", format!("version: '4294967296' is not {version}")),
        ("web#5f3a90c1", "a hash pins a version, and none is named".to_owned()),
    ];
    for (text, why) in bad {
        let told = text.parse::<ToolReference>().unwrap_err().to_string();
        assert_eq!(told, format!("tool: {why}; write {rule}"), "{text}");
    }
    let long = "a".repeat(10_000);
    assert!(long.parse::<ToolReference>().unwrap_err().to_string().len() < 300);
    for pin in ["5f3a90c", "5F3A90C1", "5f3a90cg", &"a".repeat(65)] {
        assert!(format!("web@2#{pin}").parse::<ToolReference>().is_err(), "{pin}");
        assert!(HashPin::new(pin).is_err());
    }
    assert!(DefinitionHash::new(&"a".repeat(63)).is_err());
    assert!(DefinitionHash::new(&"a".repeat(64)).is_ok());
    assert_eq!(ToolVersion::new(u32::MAX).unwrap().next(), None);
    assert!(ToolVersion::new(0).is_err());
}

#[test]
fn functions_lead_back_to_tools() {
    let longest = ToolName::new("a".repeat(48)).unwrap();
    let longest = crate::name::wire_name(&longest, ToolVersion::new(u32::MAX).unwrap());
    assert!(longest.len() <= 64, "{longest}");
    let good = [
        ("web-search_v2", "web-search@2"),
        ("web-search", "web-search"),
        (longest.as_str(), &format!("{}@4294967295", "a".repeat(48))),
    ];
    for (function, tool) in good {
        assert_eq!(tool_called(function).unwrap().to_string(), tool);
    }
    for function in ["", "web_search", "web_v", "web_v0", "web_v2_v3", "_v2", "web v2", "Web_v1"] {
        let told = tool_called(function).unwrap_err();
        assert_eq!(told.field, "function");
        assert!(told.problem.ends_with("as in web-search_v2"), "{told}");
    }
}

#[test]
fn days_are_read_and_written() {
    let good = [
        ("1970-01-01", 0),
        ("2000-02-29", 951_782_400),
        ("2027-03-31", 1_806_451_200),
        ("2100-03-01", 4_107_542_400),
        ("9999-12-31", 253_402_214_400),
    ];
    for (text, seconds) in good {
        let date: Date = text.parse().unwrap();
        assert_eq!((date.to_string().as_str(), date.begins_seconds()), (text, seconds));
        assert_eq!(Date::of_ms(seconds * 1_000), date);
        assert_eq!(Date::of_ms(seconds * 1_000 + DAY_MS - 1), date);
    }
    assert_eq!(Date::of_ms(u64::MAX).to_string(), "9999-12-31");
    let mut before = Date::of_ms(0);
    for day in 1..200_000 {
        let date = Date::of_ms(day * DAY_MS);
        assert_eq!(date.to_string().parse::<Date>().unwrap(), date);
        assert_eq!(before.days_to(date), 1);
        before = date;
    }
    let bad = [
        "",
        "2027-02-29",
        "1900-01-01",
        "2027-13-01",
        "2027-00-01",
        "2027-04-31",
        "2027-4-01",
        "27-04-01",
        "2027-04-00",
        "2027-04-01T00",
        "2027/04/01",
        "+027-04-01",
        "2100-02-29",
    ];
    for text in bad {
        let told = text.parse::<Date>().unwrap_err().problem;
        assert!(told.ends_with("write it as in 2027-03-31"), "{text}: {told}");
    }
}

#[test]
fn callers_of_what_ends_are_told() {
    let json = serde_json::json!({
        "since": "2027-03-01", "ends": "2027-03-31", "replacement": "web-search@2",
        "note": "the old\nindex goes away",
    });
    let deprecation = Deprecation::read("deprecation", &json).unwrap();
    let tool: ToolReference = "web-search@1".parse().unwrap();
    let end = " 2027-03-31; use web-search@2 instead (the old index goes away)";
    let cases = [
        ("2027-02-28", None, false),
        ("2027-03-01", Some((30, "ends in 30 days, on")), false),
        ("2027-03-30", Some((1, "ends in 1 day, on")), false),
        ("2027-03-31", Some((0, "ends today, on")), false),
        ("2027-04-01", Some((0, "ended on")), true),
    ];
    for (day, told, has_ended) in cases {
        let now_ms = day.parse::<Date>().unwrap().begins_seconds() * 1_000 + DAY_MS - 1;
        assert_eq!(deprecation.has_ended(now_ms), has_ended, "{day}");
        let notice = deprecation.notice(&tool, now_ms);
        assert_eq!(notice.is_some(), told.is_some(), "{day}");
        if let (Some(notice), Some((days_left, when))) = (notice, told) {
            assert_eq!(notice.days_left, days_left);
            assert_eq!(notice.text, format!("tool web-search@1 is deprecated and {when}{end}"));
            assert_eq!(notice.deprecation_header, "@1803859200");
            assert_eq!(notice.sunset_header, "Wed, 31 Mar 2027 23:59:59 GMT");
        }
    }
}

#[test]
fn patterns_fit_whole_names() {
    let cases = [
        ("*", "", true),
        ("*", "anything", true),
        ("web-*", "web-search", true),
        ("web-*", "web", false),
        ("*-search", "web-search", true),
        ("*-search", "web-search-2", false),
        ("a*b*c", "aXbYbZc", true),
        ("a*b*c", "acb", false),
        ("web-search", "web-search", true),
        ("web-search", "web-searchx", false),
        ("web.search", "web-search", false),
        ("", "", true),
        ("", "a", false),
        ("**a**", "bab", true),
    ];
    for (pattern, text, fits) in cases {
        assert_eq!(glob::fits(pattern, text), fits, "{pattern} {text}");
    }
    // Each star of a hostile pattern is tried at most once per place.
    assert!(!glob::fits(&"a*".repeat(64), &format!("{}b", "a".repeat(63))));
}

#[test]
fn a_problem_is_told_with_its_field() {
    let problem = Problem::new("cache.ttl_seconds", "must be a whole number from 1 to 604800");
    assert_eq!(problem.to_string(), "cache.ttl_seconds: must be a whole number from 1 to 604800");
}
