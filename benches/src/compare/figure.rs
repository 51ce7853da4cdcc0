//! One figure: an object of the JSON, a line of the table.

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::counters::Counts;

/// What was measured of one row.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Figure {
    /// The row's name, unique in a file.
    pub name: String,
    /// Nanoseconds a call: the median. None for rows that are no calls.
    pub ns_per_call: Option<f64>,
    /// `ns_per_call` over that of the group's `direct`.
    pub vs_direct: Option<f64>,
    /// `ns_per_call` over that of the group's `dyn`.
    pub vs_dyn: Option<f64>,
    /// The group.
    pub group: String,
    /// First quartile of all samples.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub p25: Option<f64>,
    /// Third quartile of all samples.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub p75: Option<f64>,
    /// The median of the fastest placement.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub placement_min: Option<f64>,
    /// The median of the slowest placement.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub placement_max: Option<f64>,
    /// Samples taken.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub samples: Option<usize>,
    /// What the processor counted a call; null where the system does not let it be asked.
    #[serde(flatten)]
    pub counts: Counts,
    /// What the name does not say.
    #[serde(default, skip_serializing_if = "str::is_empty")]
    pub note: String,
    /// What only this kind of row has.
    #[serde(flatten)]
    pub more: Map<String, Value>,
}

impl Figure {
    /// A figure without values.
    #[must_use]
    pub fn new(group: &str, name: impl Into<String>) -> Self {
        Self { group: group.to_owned(), name: name.into(), ..Self::default() }
    }

    /// Adds a value of this kind of row.
    #[must_use]
    pub fn with(mut self, key: &str, value: impl Into<Value>) -> Self {
        self.more.insert(key.to_owned(), value.into());
        self
    }

    /// A value that [`with`](Self::with) has added, as a number.
    #[must_use]
    pub fn number(&self, key: &str) -> Option<f64> {
        self.more.get(key).and_then(Value::as_f64)
    }
}

/// Sets `vs_direct` and `vs_dyn` of each figure, from the figures that `baseline` names for it: a `direct` and
/// a `dyn` row.
pub fn relate(figures: &mut [Figure], baseline: impl Fn(&Figure) -> (String, String)) {
    let times: Vec<(String, Option<f64>)> =
        figures.iter().map(|figure| (figure.name.clone(), figure.ns_per_call)).collect();
    let time = |name: &str| times.iter().find(|(other, _)| other == name).and_then(|(_, ns)| *ns);
    for figure in figures {
        let (direct, dynamic) = baseline(figure);
        let over = |base: Option<f64>| Some(figure.ns_per_call? / base?);
        (figure.vs_direct, figure.vs_dyn) = (over(time(&direct)), over(time(&dynamic)));
    }
}
