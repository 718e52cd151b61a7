//! Locks that a panic left behind. What is kept behind a lock here is whole after each single change, so whoever comes next goes on
//! with it; the panic itself ends the run by other ways.

use std::sync::{Mutex, MutexGuard, PoisonError};

/// Takes a lock, whatever became of the one who held it before.
pub fn lock<T: ?Sized>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_lock_whose_holder_panicked_is_taken_with_what_is_behind_it() {
        let mutex = Mutex::new(1);
        std::thread::scope(|scope| {
            let holder = scope.spawn(|| {
                let mut held = mutex.lock().unwrap();
                *held = 2;
                panic!("the holder ends");
            });
            assert!(holder.join().is_err());
        });
        assert!(mutex.is_poisoned());
        assert_eq!(*lock(&mutex), 2);
    }
}
