//! The names of services, by their number.

use std::collections::HashMap;
use std::sync::Arc;

use sqlx::SqliteConnection;

use super::columns::{read_row, selected_columns};

/// All services of the file. There are few: one per program that sent anything.
#[derive(Debug, Default)]
pub(crate) struct Services {
    /// `None` is the service of this program: its spans carry no name.
    names: HashMap<i64, Option<Arc<str>>>,
}

selected_columns! {
    struct ServiceRow {
        id: i64 = "id",
        name: String = "name",
        is_local: bool = "local",
    }
    const ALL = "FROM service";
}

impl Services {
    /// Reads all services. `own` is the name of this program's service.
    pub(crate) async fn load(db: &mut SqliteConnection, own: &str) -> Result<Self, sqlx::Error> {
        let mut names = HashMap::new();
        for row in sqlx::query(ServiceRow::ALL).fetch_all(db).await? {
            let ServiceRow { id, name, is_local } = read_row(&row)?;
            let is_own = is_local && name == own;
            names.insert(id, (!is_own).then(|| Arc::from(name)));
        }
        Ok(Self { names })
    }

    /// Adds a service of another program.
    pub(crate) fn insert(&mut self, id: i64, name: Arc<str>) {
        self.names.insert(id, Some(name));
    }

    /// Returns the name that a span or an event of this service carries.
    pub(crate) fn name(&self, id: i64) -> Option<Arc<str>> {
        self.names.get(&id).cloned().flatten()
    }
}
