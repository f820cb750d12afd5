//! Who of a team may do what with its prompts.

use headwater_prompts::{Access, Action, Standing};

use super::handle::PromptsHandle;
use super::keys::{self, PromptKey};
use super::nouns::{Actor, PromptError};
use super::records::{self, Changed};

impl PromptsHandle {
    /// What the actor is to a team's prompts.
    pub fn standing(&self, actor: &Actor, team: &str) -> Option<Standing> {
        if actor.is_operator {
            return Some(Standing::Admin);
        }
        if actor.team != team {
            return None;
        }
        if actor.is_whole_team {
            return Some(Standing::Admin);
        }
        let access = self.shared.table().access(team).cloned();
        Some(access.unwrap_or_default().of(actor.user.as_deref()))
    }

    /// Refuses what the actor may not do.
    ///
    /// # Errors
    /// [`PromptError::Forbidden`]; another team's prompts are unknown to the actor.
    pub fn allow(
        &self,
        actor: &Actor,
        prompt: &PromptKey,
        action: Action,
    ) -> Result<(), PromptError> {
        let PromptKey { team, name } = prompt.clone();
        match self.standing(actor, &team) {
            None => Err(PromptError::UnknownPrompt { team, name }),
            Some(standing) if standing < action.needs() => {
                Err(PromptError::Forbidden { team, action, standing })
            }
            Some(_) => Ok(()),
        }
    }

    /// A team's roles.
    ///
    /// # Errors
    /// The store's.
    pub async fn access(&self, team: &str) -> Result<Access, PromptError> {
        let read = self.shared.retry.read(|transaction| {
            let team = team.to_owned();
            Box::pin(async move { records::access(transaction, &team).await })
        });
        Ok(read.await?.unwrap_or_default())
    }

    /// # Errors
    /// The store's.
    pub async fn set_access(
        &self,
        actor: &Actor,
        team: &str,
        access: Access,
    ) -> Result<(), PromptError> {
        access.check()?;
        let id = self.shared.operation();
        let written = self.shared.retry.write(id, |transaction| {
            let (team, access) = (team.to_owned(), access.clone());
            Box::pin(async move {
                transaction.set(&keys::access(&team), &records::encode(&access)?)?;
                records::tell(transaction, &Changed::Access { team }).await
            })
        });
        written.await?;
        tracing::info!(team, by = actor.name, "the roles of a team's prompts are changed");
        self.see_access(team).await;
        Ok(())
    }
}
