//! The names of services, by their number.

use std::collections::HashMap;
use std::sync::Arc;

use sqlx::{Row as _, SqliteConnection};

use crate::rows::ServiceName;

/// All services of the file. There are few: one per program that sent anything.
#[derive(Debug, Default)]
pub(crate) struct Services {
    names: HashMap<i64, ServiceName>,
}

impl Services {
    /// Reads them. The service `own` of this program is `None` on its spans.
    pub(crate) async fn load(db: &mut SqliteConnection, own: &str) -> Result<Self, sqlx::Error> {
        let mut names = HashMap::new();
        for row in sqlx::query("SELECT id, name, local FROM service").fetch_all(db).await? {
            let name: &str = row.try_get(1)?;
            let is_own = row.try_get::<i64, _>(2)? == 1 && name == own;
            names.insert(row.try_get(0)?, (!is_own).then(|| Arc::from(name)));
        }
        Ok(Self { names })
    }

    /// Adds a service of another program.
    pub(crate) fn insert(&mut self, id: i64, name: Arc<str>) {
        self.names.insert(id, Some(name));
    }

    /// The name on a span or an event.
    pub(crate) fn name(&self, id: i64) -> ServiceName {
        self.names.get(&id).cloned().flatten()
    }
}
