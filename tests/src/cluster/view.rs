//! Questions to a cluster's nodes, and waiting until an answer is as wanted.

use std::fmt::Display;
use std::thread;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use serde_json::{Value, json};

use super::{Cluster, ClusterError, LOOK, STORE};
use crate::http::{Answer, Connection};
use crate::node::HANG_TIMEOUT;

const MINUTE: Duration = Duration::from_secs(60);

impl Cluster {
    /// Asks a node's edge one question.
    ///
    /// # Errors
    /// When no answer comes.
    pub fn ask(
        &self,
        node: &str,
        method: &str,
        path: &str,
        token: &str,
        body: &Value,
    ) -> Result<Answer, ClusterError> {
        let mut connection = Connection::open(self.address(node)?, HANG_TIMEOUT)?;
        let authorization = format!("Bearer {token}");
        let body = if body.is_null() { String::new() } else { body.to_string() };
        let headers = [("authorization", authorization.as_str())];
        connection.send(method, path, &headers, body.as_bytes())?;
        Ok(connection.receive()?)
    }

    fn ask_well(
        &self,
        node: &str,
        method: &str,
        path: &str,
        body: &Value,
    ) -> Result<Answer, ClusterError> {
        let answer = self.ask(node, method, path, &self.operator, body)?;
        if answer.status == 200 {
            return Ok(answer);
        }
        let question = format!("{method} {path}");
        let (node, status, body) = (node.to_owned(), answer.status, answer.text());
        Err(ClusterError::Answer { question, node, status, body })
    }

    /// Members and leases as a node sees them.
    ///
    /// # Errors
    /// When the answer is not 200.
    pub fn status(&self, node: &str) -> Result<Value, ClusterError> {
        Ok(self.ask_well(node, "GET", "/v1/cluster", &Value::Null)?.json())
    }

    /// The node that owns the tenant now, with the epoch; none while no lease of it runs.
    ///
    /// # Errors
    /// As [`Cluster::status`].
    pub fn owner(&self, at: &str, tenant: &str) -> Result<Option<(String, u64)>, ClusterError> {
        let status = self.status(at)?;
        let key = format!("tenant/{tenant}");
        let leases = status["leases"].as_array().into_iter().flatten();
        let lease = leases.into_iter().find(|lease| lease["key"] == key.as_str());
        Ok(lease.map(|lease| {
            let owner = lease["owner"].as_str().unwrap_or_default().to_owned();
            (owner, lease["epoch"].as_u64().unwrap_or(0))
        }))
    }

    /// A new tenant with these tokens a minute that `node` owns; its name begins with `prefix`.
    ///
    /// # Errors
    /// As [`Cluster::status`], and when no name is placed there.
    pub fn tenant_of(&self, node: &str, prefix: &str, tokens: u64) -> Result<String, ClusterError> {
        let limits = json!({"limits": [{"unit": "tokens", "window": "minute", "amount": tokens}]});
        for number in 0..64 {
            let tenant = format!("{prefix}-{number}");
            self.ask_well(STORE, "PUT", &format!("/v1/tenants/{tenant}/limits"), &limits)?;
            if self.owner(STORE, &tenant)?.is_some_and(|(owner, _)| owner == node) {
                return Ok(tenant);
            }
        }
        Err(ClusterError::Absent(format!("that owns a tenant of {prefix} as {node}")))
    }

    /// Requests and tokens that stand in the tenant's ledger.
    ///
    /// # Errors
    /// When the answer is not 200.
    pub fn usage(&self, at: &str, tenant: &str) -> Result<(u64, u64), ClusterError> {
        let path = format!("/v1/tenants/{tenant}/usage");
        let usage = self.ask_well(at, "GET", &path, &Value::Null)?.json();
        let rows: Vec<&Value> = usage["usage"].as_array().into_iter().flatten().collect();
        let sum = |name: &str| rows.iter().filter_map(|row| row[name].as_u64()).sum();
        Ok((sum("requests"), sum("tokens")))
    }

    /// The sum over a node's metrics whose lines start so.
    ///
    /// # Errors
    /// When the answer is not 200.
    pub fn metric(&self, node: &str, start: &str) -> Result<u64, ClusterError> {
        let page = self.ask_well(node, "GET", "/metrics", &Value::Null)?.text();
        let lines = page.lines().filter(|line| line.starts_with(start));
        let values = lines.filter_map(|line| line.rsplit(' ').next()?.parse::<f64>().ok());
        Ok(values.sum::<f64>() as u64)
    }

    /// Waits until no running node holds an entry that is not written down.
    ///
    /// # Errors
    /// [`ClusterError::Hang`].
    pub fn until_written(&self) -> Result<Duration, ClusterError> {
        // The gauge follows the book at short intervals.
        thread::sleep(Duration::from_millis(250));
        until("every entry written down", || {
            for node in self.nodes.keys() {
                if self.metric(node, "headwater_tenancy_unwritten_entries")? > 0 {
                    return Ok(false);
                }
            }
            Ok(true)
        })
    }

    /// Waits until a node's status is as wanted; a node that does not answer is asked again.
    ///
    /// # Errors
    /// [`ClusterError::Hang`].
    pub fn until_status(
        &self,
        at: &str,
        what: impl Display,
        wanted: impl Fn(&Value) -> bool,
    ) -> Result<Duration, ClusterError> {
        let what = format!("{what} at {at}");
        until(&what, || Ok(self.status(at).is_ok_and(|status| wanted(&status))))
    }
}

/// Looks again and again until it is so, and tells how long that took.
///
/// # Errors
/// [`ClusterError::Hang`], and what `check` fails with.
pub fn until(
    what: &str,
    mut check: impl FnMut() -> Result<bool, ClusterError>,
) -> Result<Duration, ClusterError> {
    let began = Instant::now();
    while !check()? {
        if began.elapsed() >= HANG_TIMEOUT {
            return Err(ClusterError::Hang(what.to_owned()));
        }
        thread::sleep(LOOK);
    }
    Ok(began.elapsed())
}

/// Waits until at least so much of the running UTC minute is left.
pub fn await_left_of_minute(least: Duration) {
    let left =
        MINUTE - Duration::from_millis((since_1970().as_millis() % MINUTE.as_millis()) as u64);
    if left < least {
        thread::sleep(left + LOOK);
    }
}

/// The running UTC minute: limits of a minute count anew in the next one.
pub fn minute() -> u64 {
    since_1970().as_secs() / MINUTE.as_secs()
}

fn since_1970() -> Duration {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default()
}

/// A member's row of a status; null when it is not there.
pub fn member<'a>(status: &'a Value, name: &str) -> &'a Value {
    let mut members = status["members"].as_array().into_iter().flatten();
    members.find(|member| member["node"] == name).unwrap_or(&Value::Null)
}

/// How many members a status says are alive.
pub fn alive(status: &Value) -> usize {
    let members = status["members"].as_array().into_iter().flatten();
    members.filter(|member| member["state"] == "alive").count()
}
