//! A swarm of agents that call tools and make the mistakes that agents make.

pub mod plan;
pub mod service;

use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use serde_json::{Value, json};

use crate::draw::Draw;
use crate::http::Connection;
use crate::load::Edges;
use crate::node::HANG_TIMEOUT;
use plan::{Manner, Planned, Tool};

/// Most tries of an agent that is told to come again, or that hears nothing.
const COMES_AGAIN: usize = 600;
/// Between two tries, at most.
const PAUSE: Duration = Duration::from_millis(200);

/// What an agent was told of a call.
#[derive(Clone, Debug, PartialEq)]
pub struct Told {
    pub status: u16,
    /// The word of a refusal; nothing where there is an answer.
    pub code: String,
    /// The answer, or the refusal's text.
    pub content: Value,
}

impl Told {
    fn of(status: u16, body: &Value) -> Told {
        let code = body["error"]["code"].as_str().unwrap_or_default().to_owned();
        let content = match status {
            200 => body["content"].clone(),
            _ => body["error"]["message"].clone(),
        };
        Told { status, code, content }
    }

    pub fn is_answer(&self) -> bool {
        self.status == 200
    }

    /// Whether the same call should be sent once more.
    fn is_passing(&self) -> bool {
        let passing = ["in_progress", "overloaded", "calls_per_minute", "deadline"];
        self.status == 503 || passing.contains(&self.code.as_str())
    }
}

/// A call that has ended for its agent.
#[derive(Debug)]
pub struct Done {
    pub planned: Planned,
    pub session: Option<String>,
    /// What it was told at last, and then what a repetition was.
    pub told: Vec<Told>,
    pub tries: usize,
}

/// One that calls tools for several teams, one call after the other.
pub struct Agent {
    number: usize,
    draw: Draw,
    edges: Edges,
    tokens: Vec<String>,
    kept: Vec<(SocketAddr, Connection)>,
    /// For each team the session and how often it was used.
    sessions: Vec<Option<(String, u64)>>,
}

impl Agent {
    /// `tokens` are those of [`plan::TEAMS`].
    pub fn new(number: usize, edges: Edges, tokens: Vec<String>) -> Agent {
        let sessions = vec![None; tokens.len()];
        let draw = Draw::new(number as u64);
        Agent { number, draw, edges, tokens, kept: Vec::new(), sessions }
    }

    /// Makes the call as it is planned.
    pub fn make(&mut self, planned: Planned) -> Done {
        let session = planned.is_in_session.then(|| self.session(planned.team));
        let body = planned.body(session.as_deref());
        let mut done = Done { planned, session, told: Vec::new(), tries: 0 };
        let team = done.planned.team;
        match done.planned.manner {
            Manner::Leaves => {
                if let Ok(mut connection) = self.connection() {
                    // Whether it was heard nobody knows.
                    let _ = self.send(&mut connection, team, &body);
                    std::thread::sleep(Duration::from_millis(self.draw.below(20)));
                }
            }
            Manner::Twin => done.told.extend(self.twice(team, &body)),
            _ => {}
        }
        self.insist(team, &body, &mut done);
        let is_repeated = matches!(done.planned.manner, Manner::Again | Manner::Twin);
        if is_repeated && done.planned.tool.has_effect() {
            self.insist(team, &body, &mut done);
        }
        if done.planned.manner == Manner::Changed && done.told[0].is_answer() {
            let mut other = body;
            other["arguments"]["note"] = json!("changed");
            self.insist(team, &other, &mut done);
        }
        done
    }

    /// Sends the same call to two nodes at once, and hears those answers that are final.
    fn twice(&mut self, team: usize, body: &Value) -> Vec<Told> {
        let mut open = Vec::new();
        for _ in 0..2 {
            let Ok(mut connection) = self.connection() else { continue };
            if self.send(&mut connection, team, body).is_ok() {
                open.push(connection);
            }
        }
        let answers = open.iter_mut().filter_map(|connection| hear(connection).ok());
        answers.filter(|told| !told.is_passing()).collect()
    }

    /// Asks until there is an answer that stays.
    fn insist(&mut self, team: usize, body: &Value, done: &mut Done) {
        let mut last = None;
        for _ in 0..COMES_AGAIN {
            done.tries += 1;
            match self.ask(team, body) {
                Some(told) if !told.is_passing() => return done.told.push(told),
                told => last = told.or(last),
            }
            let pause = PAUSE.as_millis() as u64;
            std::thread::sleep(Duration::from_millis(self.draw.below(pause) + 1));
        }
        let silence = Told { status: 0, code: "silence".to_owned(), content: Value::Null };
        done.told.push(last.unwrap_or(silence));
    }

    /// The team's session, a new one when this one was used as often as agents do.
    fn session(&mut self, team: usize) -> String {
        if let Some((session, used)) = &mut self.sessions[team]
            && *used < plan::SESSION_USES
        {
            *used += 1;
            return session.clone();
        }
        let budget = json!({
            "calls_max": plan::SESSION_CALLS, "microdollars_max": plan::SESSION_MICRODOLLARS,
        });
        loop {
            let begun = self.begin_session(team, &budget);
            if let Some(session) = begun {
                self.sessions[team] = Some((session.clone(), 1));
                return session;
            }
            std::thread::sleep(PAUSE);
        }
    }

    fn begin_session(&mut self, team: usize, budget: &Value) -> Option<String> {
        let mut connection = self.connection().ok()?;
        let bearer = format!("Bearer {}", self.tokens[team]);
        let headers = [("authorization", bearer.as_str())];
        let body = budget.to_string();
        let answer = connection.post("/v1/agent-sessions", &headers, body.as_bytes()).ok()?;
        assert!(matches!(answer.status, 201 | 503), "{}", answer.text());
        answer.json()["id"].as_str().filter(|_| answer.status == 201).map(str::to_owned)
    }

    /// An edge that this agent has not chosen, as nodes come and go.
    fn place(&mut self) -> io::Result<SocketAddr> {
        let chosen = self.number + self.draw.below(64) as usize;
        let edge = self.edges.of(chosen).ok_or(io::ErrorKind::NotConnected)?;
        Ok(edge.1)
    }

    fn connection(&mut self) -> io::Result<Connection> {
        Connection::open(self.place()?, HANG_TIMEOUT)
    }

    fn send(&self, connection: &mut Connection, team: usize, body: &Value) -> io::Result<()> {
        let bearer = format!("Bearer {}", self.tokens[team]);
        let headers = [("authorization", bearer.as_str())];
        connection.send("POST", "/v1/tools/call", &headers, body.to_string().as_bytes())
    }

    /// None where no whole answer came.
    fn ask(&mut self, team: usize, body: &Value) -> Option<Told> {
        let place = self.place().ok()?;
        let kept = self.kept.iter().position(|(known, _)| *known == place);
        let mut connection = match kept {
            Some(at) => self.kept.swap_remove(at).1,
            None => Connection::open(place, HANG_TIMEOUT).ok()?,
        };
        self.send(&mut connection, team, body).ok()?;
        let told = hear(&mut connection).ok()?;
        self.kept.push((place, connection));
        Some(told)
    }
}

fn hear(connection: &mut Connection) -> io::Result<Told> {
    let answer = connection.receive()?;
    Ok(Told::of(answer.status, &answer.json()))
}

/// What a team's agents may spend on [`Tool::Gem`] a day, of so many calls: half of what they want.
pub fn gem_microdollars(calls: u64) -> u64 {
    let wanted = (0..calls).map(plan::planned).filter(|call| call.tool == Tool::Gem).count();
    Tool::Gem.price() * wanted as u64 / plan::TEAMS.len() as u64 / 2
}
