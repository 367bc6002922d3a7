//! What all requests share: the model's text side, the queue to its engine, the figures.

use super::chat::{ChatTemplate, TemplateError};
use super::defaults::Defaults;
use super::grammar::Grammars;
use super::metrics::Metrics;
use super::model::Generate;
use super::openai::{ApiError, unix_seconds};
use super::text::Vocabulary;
use super::worker::{Queue, Refusal, Task, Update};
use assay_kernels::{Checkpoint, Result};
use serde_json::Value;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use tokio::sync::mpsc::Receiver;
use tokio::sync::{Semaphore, SemaphorePermit};

/// Requests whose prompts are tokenised at one time.
const PREPARING_MAX: usize = 4;

/// Requests whose bodies arrive at one time; with the limit of a body, this bounds their memory.
const READING_MAX: usize = 64;

/// How a service behaves.
#[derive(Debug, Clone)]
pub struct ServiceOptions {
    /// The model's name for clients.
    pub name: String,
    /// Most requests that wait for the engine.
    pub queue_max: usize,
    /// Whether the model thinks before it answers, unless a request says otherwise.
    pub thinking: bool,
}

/// A model that answers requests.
#[derive(Debug)]
pub struct Service {
    pub(super) name: String,
    pub(super) created: u64,
    pub(super) thinking: bool,
    pub(super) bos: u32,
    pub(super) ends: Arc<[u32]>,
    pub(super) defaults: Defaults,
    pub(super) vocabulary: Arc<Vocabulary>,
    pub(super) template: std::result::Result<ChatTemplate, TemplateError>,
    pub(super) grammars: Grammars,
    pub(super) queue: Queue,
    pub(super) metrics: Arc<Metrics>,
    preparing: Semaphore,
    reading: Semaphore,
    stopping: AtomicBool,
}

impl Service {
    /// Starts the engine's thread. Without a template there are only plain completions. The thread ends when the service is dropped and all requests are answered.
    ///
    /// # Errors
    ///
    /// When the checkpoint has no usable tokenizer, or the system gives no thread.
    pub fn start(
        checkpoint: &Checkpoint,
        template: std::result::Result<ChatTemplate, TemplateError>,
        model: Box<dyn Generate>,
        options: ServiceOptions,
    ) -> Result<(Arc<Self>, JoinHandle<()>)> {
        let config = checkpoint.config();
        let vocabulary = Arc::new(Vocabulary::new(checkpoint.tokenizer()?, config.vocab));
        let defaults = Defaults::of(checkpoint);
        let metrics = Arc::new(Metrics::default());
        let (queue, engine) = Queue::start(model, options.queue_max, Arc::clone(&metrics))
            .map_err(|source| assay_kernels::Error::Io { path: "engine thread".into(), source })?;
        let service = Self {
            name: options.name,
            created: unix_seconds(),
            thinking: options.thinking,
            bos: config.bos,
            ends: defaults.ends.clone().into(),
            grammars: Grammars::new(Arc::clone(&vocabulary), defaults.ends.clone()),
            defaults,
            vocabulary,
            template,
            queue,
            metrics,
            preparing: Semaphore::new(PREPARING_MAX),
            reading: Semaphore::new(READING_MAX),
            stopping: AtomicBool::new(false),
        };
        Ok((Arc::new(service), engine))
    }

    /// Why there is no chat, where the checkpoint has no usable template.
    #[must_use]
    pub fn chat_fault(&self) -> Option<&TemplateError> {
        self.template.as_ref().err()
    }

    /// Whether new requests are refused.
    pub(super) fn is_stopping(&self) -> bool {
        self.stopping.load(Ordering::Relaxed)
    }

    pub(super) fn stop(&self) {
        self.stopping.store(true, Ordering::Relaxed);
    }

    /// A place to read a request's body; held while it arrives.
    pub(super) fn place_to_read(&self) -> std::result::Result<SemaphorePermit<'_>, ApiError> {
        self.reading.try_acquire().map_err(|_| ApiError::queue_full())
    }

    /// Runs `prepare`, which may tokenise a long text or compile a grammar, beside the server's own
    /// threads.
    pub(super) async fn prepare<T: Send + 'static>(
        self: &Arc<Self>,
        body: Value,
        prepare: fn(&Self, &Value) -> std::result::Result<T, ApiError>,
    ) -> std::result::Result<T, ApiError> {
        if self.is_stopping() {
            return Err(ApiError::stopping());
        }
        if self.queue.is_full() {
            return Err(ApiError::queue_full());
        }
        let _place = self.preparing.acquire().await.map_err(|_| ApiError::stopping())?;
        let service = Arc::clone(self);
        let prepared = tokio::task::spawn_blocking(move || prepare(&service, &body)).await;
        prepared.map_err(|error| ApiError::engine(&error.to_string()))?
    }

    pub(super) fn submit(&self, task: Task) -> std::result::Result<Receiver<Update>, ApiError> {
        self.queue.submit(task).map_err(|refusal| match refusal {
            Refusal::Full => ApiError::queue_full(),
            Refusal::Stopped => ApiError::engine_gone(),
        })
    }
}
