//! A ledger of numbers: the smallest application that ordering can be tested with.

use assay_node::consensus::{Application, ApplicationError, Validator};
use assay_proto::{decode_canonical, limits::BLOCK_BYTES_MAX, v1};
use assay_protocol::ids::{BlockHash, PeerId, hash_parts};
use prost::Message;
use std::collections::BTreeSet;
use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::{Arc, Mutex};

/// Decided blocks, which survive a crash.
pub(crate) type Disk = Arc<Mutex<Vec<(v1::CommitCertificate, Vec<u8>)>>>;
/// Numbers that somebody wants ordered.
pub(crate) type Pool = Arc<Mutex<BTreeSet<u64>>>;
/// The validators of a height.
pub(crate) type Schedule = Arc<dyn Fn(u64) -> Vec<PeerId> + Send + Sync>;

/// Calls left before the application dies in the middle of one.
pub(crate) struct Fuse(pub(crate) AtomicI64);

impl Fuse {
    fn burn(&self) {
        if self.0.fetch_sub(1, Ordering::SeqCst) == 1 {
            // Unwinds without the message that a panic would print.
            std::panic::resume_unwind(Box::new("crash on purpose"));
        }
    }
}

pub(crate) struct Toy {
    pub(crate) disk: Disk,
    pub(crate) pool: Pool,
    pub(crate) schedule: Schedule,
    pub(crate) fuse: Arc<Fuse>,
    pub(crate) me: PeerId,
    /// Makes every block built different, as timestamps do.
    pub(crate) salt: u64,
    /// Proposes blocks that follow nothing.
    pub(crate) cheats: bool,
    done: BTreeSet<u64>,
    head: BlockHash,
}

impl Toy {
    pub(crate) fn open(
        disk: Disk,
        pool: Pool,
        schedule: Schedule,
        fuse: Arc<Fuse>,
        me: PeerId,
        salt: u64,
    ) -> Self {
        let mut toy = Self {
            disk,
            pool,
            schedule,
            fuse,
            me,
            salt,
            cheats: false,
            done: BTreeSet::new(),
            head: BlockHash::default(),
        };
        let chain = toy.disk.lock().expect("disk").clone();
        for (_, body) in &chain {
            toy.apply(body);
        }
        toy
    }

    fn apply(&mut self, body: &[u8]) {
        self.head = self.identify(body).expect("a decided block");
        self.done.extend(numbers(&parse(body).expect("a decided block")));
    }

    fn last(&self) -> Option<v1::CommitCertificate> {
        self.disk.lock().expect("disk").last().map(|(certificate, _)| certificate.clone())
    }
}

fn parse(body: &[u8]) -> Result<v1::Block, ApplicationError> {
    Ok(decode_canonical(body, BLOCK_BYTES_MAX)?)
}

/// The numbers that a block orders.
pub(crate) fn numbers(block: &v1::Block) -> Vec<u64> {
    let parse = |bytes: &Vec<u8>| bytes.as_slice().try_into().map_or(0, u64::from_le_bytes);
    block.records.iter().map(|record| parse(&record.payload)).collect()
}

/// The numbers that a disk has ordered.
pub(crate) fn ordered(disk: &Disk) -> Vec<u64> {
    let chain = disk.lock().expect("disk");
    chain.iter().flat_map(|(_, body)| numbers(&parse(body).expect("decided"))).collect()
}

fn body_root(block: &v1::Block) -> Vec<u8> {
    let records: Vec<Vec<u8>> = block.records.iter().map(Message::encode_to_vec).collect();
    let parts: Vec<&[u8]> = records.iter().map(Vec::as_slice).collect();
    hash_parts("toy body", &parts).to_vec()
}

impl Application for Toy {
    fn height(&self) -> u64 {
        self.last().map_or(0, |certificate| certificate.height)
    }

    fn era(&self) -> u64 {
        0
    }

    fn validators(&self) -> Vec<Validator> {
        let peers = (self.schedule)(self.height() + 1);
        peers.into_iter().map(|peer| Validator { peer, power: 1 }).collect()
    }

    fn certificate(&self) -> Option<v1::CommitCertificate> {
        self.last()
    }

    fn has_work(&self) -> bool {
        !self.pool.lock().expect("pool").is_subset(&self.done)
    }

    fn build(&mut self, round: u32) -> Result<(BlockHash, Vec<u8>), ApplicationError> {
        self.fuse.burn();
        self.salt += 1;
        let waiting: Vec<u64> =
            self.pool.lock().expect("pool").difference(&self.done).copied().take(4).collect();
        let records = waiting.into_iter().map(|number| v1::SignedRecord {
            payload: number.to_le_bytes().to_vec(),
            ..Default::default()
        });
        let mut block = v1::Block { header: None, records: records.collect() };
        block.header = Some(v1::Header {
            height: self.height() + 1,
            parent: if self.cheats { vec![0xbd; 32] } else { self.head.to_vec() },
            body_root: body_root(&block),
            proposer: self.me.to_vec(),
            time_ms: self.salt,
            era: u64::from(round),
            ..Default::default()
        });
        let body = block.encode_to_vec();
        Ok((self.identify(&body)?, body))
    }

    fn identify(&self, body: &[u8]) -> Result<BlockHash, ApplicationError> {
        let block = parse(body)?;
        let header = block.header.as_ref().ok_or("no header")?;
        if header.body_root != body_root(&block) {
            return Err("records do not match the header".into());
        }
        Ok(BlockHash(hash_parts("toy header", &[&header.encode_to_vec()])))
    }

    fn check(&mut self, body: &[u8]) -> Result<(), ApplicationError> {
        self.fuse.burn();
        let block = parse(body)?;
        let header = block.header.as_ref().ok_or("no header")?;
        if header.height != self.height() + 1 || header.parent != self.head.0 {
            return Err("does not follow the head".into());
        }
        if numbers(&block).iter().any(|number| self.done.contains(number)) {
            return Err("orders a number again".into());
        }
        Ok(())
    }

    fn commit(
        &mut self,
        certificate: v1::CommitCertificate,
        body: Vec<u8>,
    ) -> Result<(), ApplicationError> {
        self.fuse.burn();
        self.apply(&body);
        self.disk.lock().expect("disk").push((certificate, body));
        self.fuse.burn();
        Ok(())
    }
}
