//! A server on a free port of loopback, and talking to it.

use assay_kernels::{AdapterRequest, Bundle, Checkpoint, Drafter, Engine, EngineOptions, Gpu};
use assay_node::serve::chat::ChatTemplate;
use assay_node::serve::model::{EngineModel, Generate};
use assay_node::serve::{Access, Service, ServiceOptions, serve};
use serde_json::{Value, json};
use std::io::Read;
use std::thread::JoinHandle;
use std::time::Duration;
use tokio::net::TcpListener;
use tokio::sync::oneshot;

/// Ends with the test.
pub(crate) struct Server {
    pub(crate) url: String,
    stop: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

/// A reply with its status and headers.
pub(crate) struct Reply {
    pub(crate) status: u16,
    pub(crate) retry_after: Option<String>,
    pub(crate) text: String,
}

impl Reply {
    pub(crate) fn json(&self) -> Value {
        serde_json::from_str(&self.text).unwrap_or_else(|_| panic!("{}", self.text))
    }

    /// The objects of a stream, which must end as streams do.
    pub(crate) fn events(&self) -> Vec<Value> {
        let mut data: Vec<&str> =
            self.text.lines().filter_map(|line| line.strip_prefix("data: ")).collect();
        assert_eq!(data.pop(), Some("[DONE]"), "{}", self.text);
        data.into_iter().map(|object| serde_json::from_str(object).unwrap()).collect()
    }
}

impl Server {
    pub(crate) fn start(checkpoint: &Checkpoint, model: impl Generate + 'static) -> Self {
        Self::with(checkpoint, model, Access::Local, 8)
    }

    pub(crate) fn with(
        checkpoint: &Checkpoint,
        model: impl Generate + 'static,
        access: Access,
        queue_max: usize,
    ) -> Self {
        let options = ServiceOptions { name: "test".into(), queue_max, thinking: false };
        let template = ChatTemplate::of(checkpoint, None);
        let (service, engine) =
            Service::start(checkpoint, template, Box::new(model), options).unwrap();
        let (stop, stopped) = oneshot::channel::<()>();
        let (tell, address) = std::sync::mpsc::sync_channel(1);
        let thread = std::thread::spawn(move || {
            let runtime = tokio::runtime::Runtime::new().unwrap();
            runtime.block_on(async {
                let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
                tell.send(listener.local_addr().unwrap()).unwrap();
                let stop = async {
                    let _ = stopped.await;
                };
                let never = std::future::pending();
                serve(listener, service, engine, access, stop, never).await.unwrap();
            });
        });
        let url = format!("http://{}", address.recv().unwrap());
        Self { url, stop: Some(stop), thread: Some(thread) }
    }

    /// Nano on the engine, with its drafter.
    pub(crate) fn nano() -> Self {
        Self::nano_with(Access::Local)
    }

    /// The same for whom `access` lets in.
    pub(crate) fn nano_with(access: Access) -> Self {
        let gpu = Gpu::open(&AdapterRequest::default()).unwrap();
        let checkpoint = Checkpoint::embedded().unwrap();
        let options = EngineOptions { rewind_tokens: 256, ..EngineOptions::new(4096, 32) };
        let engine = Engine::new(&gpu, &checkpoint, &Bundle::builtin(), &options).unwrap();
        let engine = engine.with_drafter(&Drafter::embedded().unwrap(), 3).unwrap();
        Self::with(&checkpoint, EngineModel::new(engine), access, 8)
    }

    pub(crate) fn post(&self, path: &str, body: &Value) -> Reply {
        self.send(path, &body.to_string(), &[("content-type", "application/json")])
    }

    pub(crate) fn send(&self, path: &str, body: &str, headers: &[(&str, &str)]) -> Reply {
        let mut request = agent().post(format!("{}{path}", self.url));
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        reply(request.send(body).unwrap())
    }

    pub(crate) fn get(&self, path: &str, headers: &[(&str, &str)]) -> Reply {
        let mut request = agent().get(format!("{}{path}", self.url));
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        reply(request.call().unwrap())
    }

    /// A chat with one message of the user, with further fields.
    pub(crate) fn chat(&self, text: &str, more: Value) -> Reply {
        let mut body = json!({"messages": [{"role": "user", "content": text}]});
        merge(&mut body, more);
        self.post("/v1/chat/completions", &body)
    }

    pub(crate) fn complete(&self, prompt: &str, more: Value) -> Reply {
        let mut body = json!({"prompt": prompt});
        merge(&mut body, more);
        self.post("/v1/completions", &body)
    }

    /// Asks the server to stop, without waiting.
    pub(crate) fn stop(&mut self) {
        drop(self.stop.take());
    }

    /// Leaves a server alone whose engine is gone, so that it cannot end well.
    pub(crate) fn abandon(mut self) {
        drop(self.thread.take());
    }

    /// Waits for the end of the server's thread.
    pub(crate) fn join(&mut self) {
        self.stop();
        if let Some(thread) = self.thread.take() {
            thread.join().unwrap();
        }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.stop();
        if !std::thread::panicking() {
            self.join();
        }
    }
}

fn merge(body: &mut Value, more: Value) {
    let Value::Object(more) = more else { panic!("{more} is no object") };
    body.as_object_mut().unwrap().extend(more);
}

fn agent() -> ureq::Agent {
    let config = ureq::Agent::config_builder().http_status_as_error(false);
    config.timeout_global(Some(Duration::from_secs(120))).build().into()
}

fn reply(response: ureq::http::Response<ureq::Body>) -> Reply {
    let status = response.status().as_u16();
    let header = response.headers().get("retry-after");
    let retry_after = header.map(|value| value.to_str().unwrap().to_owned());
    let mut text = String::new();
    response.into_body().into_reader().read_to_string(&mut text).unwrap();
    Reply { status, retry_after, text }
}
