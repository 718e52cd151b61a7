//! Asks a store whether it keeps what is there when it is asked to: one object, created twice.

use object_store::path::Path;
use object_store::{Error, ObjectStore, ObjectStoreExt, PutMode, PutOptions, PutPayload, Result};

use super::S3;
use super::said::Said;
use crate::target::Keeps;

impl S3 {
    /// Creates `location` twice, and removes it where the key may. From then on the store is treated as what it showed itself to be.
    pub(in crate::target) async fn probe(&self, location: &Path) -> Result<Keeps> {
        let full = self.full(location)?;
        let put = async |text: &'static str| {
            let options = PutOptions::from(PutMode::Create);
            self.0
                .store
                .put_opts(&full, PutPayload::from_static(text.as_bytes()), options)
                .await
        };
        let keeps = match put("first\n").await {
            Ok(_) => match put("second\n").await {
                Err(Error::AlreadyExists { .. }) => Keeps::Conditions,
                Ok(_) => Keeps::Nothing,
                Err(error) => return Err(self.without(&full, error).await),
            },
            // It refuses to be asked at all.
            Err(error) if Said::of(&error).status() == Some(501) => Keeps::Nothing,
            Err(error) => return Err(error),
        };
        // A key that may not delete is a good key for a host that only backs up; what stays is told from a backup by name.
        let _ = self.0.store.delete(&full).await;
        if keeps == Keeps::Nothing {
            self.give_up_conditions();
        }
        Ok(keeps)
    }

    /// Asks the store no more to keep what is there, and looks before each put instead.
    pub(in crate::target) fn give_up_conditions(&self) {
        self.0.conditions.give_up();
    }

    /// Removes the object as far as that can be done, and gives the error back.
    async fn without(&self, full: &Path, error: Error) -> Error {
        // The first error is the one to tell.
        let _ = self.0.store.delete(full).await;
        error
    }
}
