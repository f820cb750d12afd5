//! What people do with prompts: commit, look, set, move and go back.

use headwater_prompts::{
    Because, Bundle, Compiled, Fork, Gates, Head, Move, Pointer, Problem, Promotion,
    PromptDocument, Rendered, is_prompt_name,
};
use headwater_storage::RangeRead;

use super::change::Draft;
use super::handle::PromptsHandle;
use super::keys::{self, PromptKey};
use super::nouns::{Actor, Checked, Commit, Found, Preview, PromptError, PromptInfo, VersionInfo};
use super::records::{self, Room};

/// Entries of a list.
const LISTED: usize = 200;
/// Bytes of a message, a reason or a tag.
const WORDS_BYTES: usize = 1_000;
const TAGS: usize = 20;
const OVERRIDES: usize = 40;

/// What an admin sets of a prompt; what is none stays.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Options {
    pub gates: Option<Gates>,
    pub is_protected: Option<bool>,
    pub is_shared: Option<bool>,
}

impl PromptsHandle {
    /// Whether the document could be committed, and what is odd about it.
    ///
    /// # Errors
    /// The first field that is wrong.
    pub async fn check(
        &self,
        team: &str,
        document: &PromptDocument,
    ) -> Result<Checked, PromptError> {
        let compiled = Compiled::new(&self.bundle(team, document).await?)?;
        let findings = self.scan(document);
        Ok(Checked {
            warnings: compiled.warnings().to_vec(),
            findings,
            variables: compiled.variables().clone(),
            secrets: compiled.secrets().iter().cloned().collect(),
        })
    }

    /// Renders a document that nobody has committed.
    ///
    /// # Errors
    /// The first field or variable that is wrong.
    pub async fn preview(&self, team: &str, preview: &Preview) -> Result<Rendered, PromptError> {
        let compiled = Compiled::new(&self.bundle(team, &preview.document).await?)?;
        Ok(compiled.render(&preview.variables)?)
    }

    /// The document with those of its partials.
    async fn bundle(&self, team: &str, document: &PromptDocument) -> Result<Bundle, PromptError> {
        document.check()?;
        let read = self.shared.retry.read(|transaction| {
            let (team, document) = (team.to_owned(), document.clone());
            Box::pin(async move {
                let mut room = Room::default();
                records::bundle(transaction, &team, document, 0, &mut room).await
            })
        });
        Ok(read.await??)
    }

    /// Keeps a document as the prompt's next version; the first one makes the prompt.
    ///
    /// # Errors
    /// [`PromptError::Invalid`], [`PromptError::SecretFound`], [`PromptError::Moved`] and the
    /// store's; nothing was written then.
    pub async fn commit(
        &self,
        actor: &Actor,
        prompt: &PromptKey,
        commit: Commit,
    ) -> Result<(VersionInfo, Checked), PromptError> {
        if !is_prompt_name(&prompt.name) {
            return Err(
                Problem::new("name", format!("must be {}", headwater_prompts::NAME_RULE)).into()
            );
        }
        check_words(&commit)?;
        let mut checked = self.check(&prompt.team, &commit.document).await?;
        checked.findings.extend(self.scan_words(&commit));
        let is_passed =
            |found: &Found| commit.overrides.iter().any(|one| one.fingerprint == found.fingerprint);
        checked.findings.retain(|found| !is_passed(found));
        if !checked.findings.is_empty() {
            return Err(PromptError::SecretFound(checked.findings));
        }
        let info = self.write_version(actor, prompt, commit, None).await?;
        Ok((info, checked))
    }

    async fn write_version(
        &self,
        actor: &Actor,
        prompt: &PromptKey,
        commit: Commit,
        fork: Option<Fork>,
    ) -> Result<VersionInfo, PromptError> {
        let canonical = commit.document.canonical();
        let (sha256, author) = (commit.document.sha256(), actor.name.clone());
        let created_ms = self.shared.runtime.wall_ms();
        self.change(prompt, move |draft| {
            let current = draft.head.newest;
            if let Some(expected) = commit.expected_newest.filter(|expected| *expected != current) {
                return Err(PromptError::Moved { expected, current });
            }
            let parent = commit.parent.or(current.checked_sub(1).map(|_| current));
            if parent.is_some_and(|parent| parent == 0 || parent > current) {
                return Err(Problem::new(
                    "parent",
                    format!("is no version; the newest is {current}"),
                )
                .into());
            }
            draft.head.newest += 1;
            draft.head.forked_from = draft.head.forked_from.take().or(fork.clone());
            let info = VersionInfo {
                number: draft.head.newest,
                author: author.clone(),
                message: commit.message.clone(),
                tags: commit.tags.clone(),
                parent,
                sha256: sha256.clone(),
                created_ms,
                overrides: commit.overrides.clone(),
            };
            draft.version = Some((info.clone(), canonical.clone()));
            Ok(info)
        })
        .await
    }

    /// Copies a version of a shared prompt of any team, or of an own one, into a new prompt.
    ///
    /// # Errors
    /// As [`PromptsHandle::commit`]; a prompt that is not shared is unknown to other teams.
    pub async fn fork(
        &self,
        actor: &Actor,
        prompt: &PromptKey,
        from: &PromptKey,
        version: Option<u64>,
    ) -> Result<VersionInfo, PromptError> {
        let unknown =
            || PromptError::UnknownPrompt { team: from.team.clone(), name: from.name.clone() };
        let head = self.head(from).await?;
        if !head.is_shared && self.standing(actor, &from.team).is_none() {
            return Err(unknown());
        }
        let number = version.or(head.production).ok_or_else(|| PromptError::NothingServed {
            name: from.name.clone(),
            pointer: Pointer::Production.name(),
        })?;
        let ready = self.old_version(from, number).await?;
        if !ready.document.partials.is_empty() && from.team != prompt.team {
            let problem =
                "has partials, which another team cannot read; put their text into it first";
            return Err(Problem::new("from", problem).into());
        }
        let fork = Fork { team: from.team.clone(), prompt: from.name.clone(), version: number };
        let commit = Commit {
            document: ready.document.clone(),
            message: format!("forked from {}/{} version {number}", from.team, from.name),
            tags: Vec::new(),
            parent: None,
            expected_newest: Some(0),
            overrides: Vec::new(),
        };
        check_words(&commit)?;
        let findings = self.scan(&commit.document);
        if !findings.is_empty() {
            return Err(PromptError::SecretFound(findings));
        }
        self.write_version(actor, prompt, commit, Some(fork)).await
    }

    /// # Errors
    /// [`PromptError::UnknownPrompt`] and the store's.
    pub async fn head(&self, prompt: &PromptKey) -> Result<Head, PromptError> {
        let read = self.shared.retry.read(|transaction| {
            let prompt = prompt.clone();
            Box::pin(async move { records::head(transaction, &prompt).await })
        });
        let PromptKey { team, name } = prompt.clone();
        read.await?.ok_or(PromptError::UnknownPrompt { team, name })
    }

    /// A page of a team's prompts, by their names.
    ///
    /// # Errors
    /// The store's.
    pub async fn list(
        &self,
        team: &str,
        after: Option<&str>,
        limit: usize,
    ) -> Result<Vec<PromptInfo>, PromptError> {
        let read = self.shared.retry.read(|transaction| {
            let range = keys::heads(Some(team), after);
            Box::pin(async move { transaction.range(RangeRead::all(range).limit(limit)).await })
        });
        let info = |(key, row): (Vec<u8>, Vec<u8>)| {
            let PromptKey { team, name } = records::prompt_of(&key)?;
            Ok(PromptInfo { team, name, head: records::decode(&row)? })
        };
        read.await?.into_iter().map(info).collect()
    }

    /// The newest versions first.
    ///
    /// # Errors
    /// The store's.
    pub async fn versions(&self, prompt: &PromptKey) -> Result<Vec<VersionInfo>, PromptError> {
        self.newest(prompt.versions()).await
    }

    /// Moves of the prompt's pointers, the newest first.
    ///
    /// # Errors
    /// The store's.
    pub async fn history(&self, prompt: &PromptKey) -> Result<Vec<Move>, PromptError> {
        self.newest(prompt.moves()).await
    }

    /// Promotions of the prompt, the newest first.
    ///
    /// # Errors
    /// The store's.
    pub async fn promotions(&self, prompt: &PromptKey) -> Result<Vec<Promotion>, PromptError> {
        self.newest(prompt.promotions()).await
    }

    pub(super) async fn newest<T: serde::de::DeserializeOwned + Send>(
        &self,
        range: headwater_storage::KeyRange,
    ) -> Result<Vec<T>, PromptError> {
        let read = self.shared.retry.read(|transaction| {
            let range = range.clone();
            Box::pin(async move { records::newest(transaction, range, LISTED).await })
        });
        Ok(read.await?)
    }

    /// # Errors
    /// [`PromptError::Unknown`] and the store's.
    pub async fn promotion(&self, prompt: &PromptKey, id: u64) -> Result<Promotion, PromptError> {
        let read = self.shared.retry.read(|transaction| {
            let prompt = prompt.clone();
            Box::pin(async move { records::promotion(transaction, &prompt, id).await })
        });
        read.await?.ok_or_else(|| PromptError::Unknown {
            what: format!("promotion {id} of the prompt '{}'", prompt.name),
        })
    }

    /// A version with its document.
    ///
    /// # Errors
    /// [`PromptError::Unknown`] and the store's.
    pub async fn version(
        &self,
        prompt: &PromptKey,
        number: u64,
    ) -> Result<(VersionInfo, std::sync::Arc<super::nouns::Ready>), PromptError> {
        let read = self.shared.retry.read(|transaction| {
            let prompt = prompt.clone();
            Box::pin(async move { records::version(transaction, &prompt, number).await })
        });
        let unknown = || PromptError::Unknown {
            what: format!("version {number} of the prompt '{}'", prompt.name),
        };
        let info = read.await?.ok_or_else(unknown)?;
        Ok((info, self.old_version(prompt, number).await?))
    }

    /// # Errors
    /// [`PromptError::Invalid`], [`PromptError::UnknownPrompt`] and the store's.
    pub async fn set(
        &self,
        actor: &Actor,
        prompt: &PromptKey,
        options: Options,
    ) -> Result<Head, PromptError> {
        if let Some(gates) = &options.gates {
            gates.check()?;
            self.check_live(&prompt.team, gates).await?;
        }
        let (unknown, by) = (unknown(prompt), actor.name.clone());
        let at_ms = self.shared.runtime.wall_ms();
        self.change(prompt, move |draft| {
            must_exist(draft, &unknown)?;
            let Options { gates, is_protected, is_shared } = options.clone();
            let head = &mut draft.head;
            head.gates = gates.unwrap_or_else(|| head.gates.clone());
            head.is_protected = is_protected.unwrap_or(head.is_protected);
            head.is_shared = is_shared.unwrap_or(head.is_shared);
            let reason = "settings changed".to_owned();
            let because = Because { by: by.clone(), reason, promotion: None, at_ms };
            let noted = head.note(Pointer::Settings, because);
            let told = head.clone();
            draft.moves.push(noted);
            Ok(told)
        })
        .await
    }
}

pub(super) fn unknown(prompt: &PromptKey) -> PromptError {
    PromptError::UnknownPrompt { team: prompt.team.clone(), name: prompt.name.clone() }
}

pub(super) fn must_exist(draft: &Draft, unknown: &PromptError) -> Result<(), PromptError> {
    if draft.exists { Ok(()) } else { Err(unknown.clone()) }
}

pub(super) fn check_length(field: &str, words: &str) -> Result<(), Problem> {
    if words.len() > WORDS_BYTES {
        let problem = format!("has {} bytes; at most {WORDS_BYTES} are allowed", words.len());
        return Err(Problem::new(field, problem));
    }
    Ok(())
}

fn check_words(commit: &Commit) -> Result<(), Problem> {
    check_length("message", &commit.message)?;
    if commit.tags.len() > TAGS {
        return Err(Problem::new(
            "tags",
            format!("has {} entries; at most {TAGS} are allowed", commit.tags.len()),
        ));
    }
    commit.tags.iter().try_for_each(|tag| check_length("tags", tag))?;
    if commit.overrides.len() > OVERRIDES {
        let problem =
            format!("has {} entries; at most {OVERRIDES} are allowed", commit.overrides.len());
        return Err(Problem::new("overrides", problem));
    }
    for (place, one) in commit.overrides.iter().enumerate() {
        check_length(&format!("overrides[{place}].fingerprint"), &one.fingerprint)?;
        let field = format!("overrides[{place}].reason");
        check_length(&field, &one.reason)?;
        if one.reason.trim().is_empty() {
            return Err(Problem::new(field, "is missing; say why the finding is no secret"));
        }
    }
    Ok(())
}
