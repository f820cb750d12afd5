//! The daily cost report: which days, by what.

use headwater_storage::audit::Moment;

/// What a report may be told by.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CostBy {
    Team,
    Project,
    User,
    Key,
    /// The model as it was asked for.
    Model,
    Backend,
    ModelServed,
    Route,
}

impl CostBy {
    pub const ALL: [CostBy; 8] = [
        CostBy::Team,
        CostBy::Project,
        CostBy::User,
        CostBy::Key,
        CostBy::Model,
        CostBy::Backend,
        CostBy::ModelServed,
        CostBy::Route,
    ];

    pub fn name(self) -> &'static str {
        match self {
            CostBy::Team => "team",
            CostBy::Project => "project",
            CostBy::User => "user",
            CostBy::Key => "key",
            CostBy::Model => "model",
            CostBy::Backend => "backend",
            CostBy::ModelServed => "model_served",
            CostBy::Route => "route",
        }
    }

    fn column(self) -> &'static str {
        match self {
            CostBy::User => "user_id",
            CostBy::Key => "key_id",
            CostBy::Model => "model_asked",
            other => other.name(),
        }
    }
}

/// A good question about cost.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CostQuestion {
    from: Moment,
    to: Moment,
    by: Vec<CostBy>,
}

/// What is wrong with one.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CostProblem {
    #[error("{field} is '{given}'; write a day as 2026-12-01")]
    Day { field: &'static str, given: String },
    #[error("from is after to; give the earlier day first")]
    Backwards,
    #[error("by names '{given}'; allowed are {}", CostBy::ALL.map(CostBy::name).join(", "))]
    By { given: String },
}

impl CostProblem {
    /// The parameter at fault.
    pub fn field(&self) -> &'static str {
        match self {
            CostProblem::Day { field, .. } => field,
            CostProblem::Backwards => "from",
            CostProblem::By { .. } => "by",
        }
    }
}

impl CostQuestion {
    /// `from` and `to` are days such as `2026-12-01`, both within; `by` is a list parted by
    /// commas, team, project and model without one. Without days it is about the 30 up to `now_ms`.
    ///
    /// # Errors
    /// See [`CostProblem`].
    pub fn read(
        from: Option<&str>,
        to: Option<&str>,
        by: Option<&str>,
        now_ms: u64,
    ) -> Result<CostQuestion, CostProblem> {
        const MONTH_MS: u64 = 29 * headwater_storage::audit::DAY_MS;
        let day = |field: &'static str, given: &str| {
            let problem = || CostProblem::Day { field, given: given.to_owned() };
            Moment::of_date(given).ok_or_else(problem)
        };
        let to = to.map_or(Ok(Moment { ms: now_ms }), |to| day("to", to))?;
        let month = Moment { ms: to.ms.saturating_sub(MONTH_MS) };
        let from = from.map_or(Ok(month), |from| day("from", from))?;
        if from.ms > to.ms {
            return Err(CostProblem::Backwards);
        }
        let mut kinds: Vec<CostBy> = Vec::new();
        for given in by.unwrap_or("team,project,model").split(',').map(str::trim) {
            let found = CostBy::ALL.into_iter().find(|one| one.name() == given);
            let found = found.ok_or_else(|| CostProblem::By { given: given.to_owned() })?;
            if !kinds.contains(&found) {
                kinds.push(found);
            }
        }
        Ok(CostQuestion { from, to, by: kinds })
    }

    /// The question in SQL. All that stands in it was read from closed lists.
    pub(super) fn sql(&self) -> String {
        let columns: Vec<&str> = self.by.iter().map(|one| one.column()).collect();
        let named = |one: &CostBy| match one.column() == one.name() {
            true => one.name().to_owned(),
            false => format!("{} as \"{}\"", one.column(), one.name()),
        };
        let shown: Vec<String> = self.by.iter().map(named).collect();
        let (from, to) = (self.from.date(), self.to.date());
        format!(
            "select day, {}, count(*) as requests, sum(tokens_in) as tokens_in, \
             sum(tokens_out) as tokens_out, sum(tokens_cached) as tokens_cached, \
             cast(sum(cost_micro_usd) as double) / 1000000.0 as cost_usd \
             from audit where day >= date '{from}' and day <= date '{to}' \
             group by day, {} order by day, {}",
            shown.join(", "),
            columns.join(", "),
            columns.join(", "),
        )
    }
}
