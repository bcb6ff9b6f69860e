use super::*;
use proptest::prelude::*;

const NOW: SystemTime = SystemTime::UNIX_EPOCH;

fn entry(key: &str, kind: Kind) -> Entry {
    Entry {
        key: key.to_owned(),
        kind,
        bytes: if kind == Kind::Delete { 0 } else { 10 },
        since: NOW,
    }
}

/// A queue, and the files and the store it stands for.
#[derive(Default)]
struct World {
    queue: Queue,
    numbers: u64,
    /// What an entry is, and what its pointer lists.
    files: BTreeMap<u64, (Entry, Vec<String>)>,
    sending: Vec<u64>,
    store: HashMap<String, Vec<String>>,
    /// What the caller has put and not deleted.
    objects: Vec<String>,
    /// Deleted before what lists them was replaced, as the caller wished.
    doomed: BTreeSet<String>,
    index: Option<Vec<String>>,
}

#[derive(Clone, Debug)]
enum Step {
    Put,
    Publish,
    /// As a chunk is re-issued: the new one, the index, then the old one goes.
    Replace(usize),
    /// As a message is deleted: at once, and from the index afterwards.
    Doom(usize),
    Send,
    Fail(usize),
    Arrive(usize),
    /// Of the process; what was on the wire may have arrived.
    Crash(bool),
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        4 => Just(Step::Put),
        4 => Just(Step::Publish),
        1 => any::<usize>().prop_map(Step::Replace),
        1 => any::<usize>().prop_map(Step::Doom),
        6 => Just(Step::Send),
        2 => any::<usize>().prop_map(Step::Fail),
        6 => any::<usize>().prop_map(Step::Arrive),
        1 => any::<bool>().prop_map(Step::Crash),
    ]
}

impl World {
    fn push(&mut self, key: &str, kind: Kind, lists: Vec<String>) {
        let number = self.numbers;
        self.numbers += 1;
        self.files.insert(number, (entry(key, kind), lists));
        for obsolete in self.queue.push(number, entry(key, kind)) {
            self.files.remove(&obsolete).expect("a file goes once");
        }
    }

    fn put(&mut self) {
        let key = format!("a/v/{}.m4s", self.numbers);
        self.objects.push(key.clone());
        self.push(&key, Kind::Object, vec![]);
    }

    fn publish(&mut self) {
        let lists = self.objects.clone();
        self.index = Some(lists.clone());
        self.push("a/v/index.m3u8", Kind::Pointer, lists.clone());
        self.push("a/index.m3u8", Kind::Pointer, lists);
    }

    fn delete(&mut self, which: usize) {
        let key = self.objects.remove(which % self.objects.len());
        self.push(&key, Kind::Delete, vec![]);
    }

    fn step(&mut self, step: Step) {
        match step {
            Step::Put => self.put(),
            Step::Publish => self.publish(),
            Step::Replace(which) if !self.objects.is_empty() => {
                let old = self.objects.remove(which % self.objects.len());
                self.put();
                self.publish();
                self.push(&old, Kind::Delete, vec![]);
            }
            Step::Doom(which) if !self.objects.is_empty() => {
                self.doomed
                    .insert(self.objects[which % self.objects.len()].clone());
                self.delete(which);
                self.publish();
            }
            Step::Replace(_) | Step::Doom(_) => {}
            Step::Send => self.send(),
            Step::Fail(which) => {
                if let Some(number) = self.chosen(which) {
                    self.queue.pause(number);
                    if self.queue.begin(number) {
                        self.sending.push(number);
                    }
                }
            }
            Step::Arrive(which) => self.arrive(which),
            Step::Crash(arrived) => self.crash(arrived),
        }
    }

    fn send(&mut self) {
        if self.sending.len() < 3
            && let Some((number, entry)) = self.queue.next()
        {
            assert_eq!(self.files[&number].0, entry);
            assert!(self.queue.begin(number));
            self.sending.push(number);
        }
    }

    fn chosen(&mut self, which: usize) -> Option<u64> {
        (!self.sending.is_empty()).then(|| self.sending.swap_remove(which % self.sending.len()))
    }

    fn arrive(&mut self, which: usize) {
        if let Some(number) = self.chosen(which) {
            self.store(number);
            self.files.remove(&number);
            self.queue.done(number);
        }
    }

    fn store(&mut self, number: u64) {
        let (entry, lists) = &self.files[&number];
        match entry.kind {
            Kind::Delete => self.store.remove(&entry.key),
            _ => self.store.insert(entry.key.clone(), lists.clone()),
        };
        self.check();
    }

    /// The store alone is whole.
    fn check(&self) {
        for (pointer, lists) in &self.store {
            for listed in lists {
                let there = self.store.contains_key(listed) || self.doomed.contains(listed);
                assert!(there, "{pointer} lists {listed}, which is not there");
            }
        }
        // A pointer above leads to one below, of whatever version.
        let leads = self.store.contains_key("a/index.m3u8");
        assert!(!leads || self.store.contains_key("a/v/index.m3u8"));
    }

    fn crash(&mut self, arrived: bool) {
        if arrived && let Some(number) = self.sending.first().copied() {
            self.store(number);
        }
        self.sending.clear();
        self.queue = Queue::default();
        for (number, (entry, _)) in self.files.clone() {
            for obsolete in self.queue.restore(number, entry) {
                self.files.remove(&obsolete);
            }
        }
    }

    fn drain(&mut self) {
        while self.queue.len() > 0 {
            self.send();
            self.arrive(0);
        }
    }
}

proptest! {
    #[test]
    fn the_store_is_whole_at_every_moment_and_complete_at_last(steps in prop::collection::vec(step(), 1..200)) {
        let mut world = World::default();
        for step in steps {
            world.step(step);
            let files: u64 = world.files.values().map(|(entry, _)| entry.bytes).sum();
            assert_eq!((world.queue.len(), world.queue.bytes()), (world.files.len(), files));
            let versions = world.files.values().filter(|(entry, _)| entry.key == "a/index.m3u8").count();
            assert!(versions <= 3, "{versions} versions of one pointer wait");
        }
        world.drain();
        assert!(world.files.is_empty());
        assert_eq!(world.store.remove("a/index.m3u8"), world.index);
        assert_eq!(world.store.remove("a/v/index.m3u8"), world.index);
        let mut there: Vec<_> = world.store.into_keys().collect();
        there.sort();
        world.objects.sort();
        assert_eq!(there, world.objects);
    }
}

/// Everything may go that `next` gives, at once.
fn all_next(queue: &mut Queue) -> Vec<u64> {
    std::iter::from_fn(|| queue.next())
        .map(|(number, _)| number)
        .collect()
}

#[test]
fn a_pointer_waits_for_its_broadcast_and_for_no_other() {
    let mut queue = Queue::default();
    queue.push(0, entry("a/v/0.m4s", Kind::Object));
    queue.push(1, entry("a/v/index.m3u8", Kind::Pointer));
    queue.push(2, entry("b/v/index.m3u8", Kind::Pointer));
    queue.push(3, entry("a/v/1.m4s", Kind::Object));
    assert_eq!(all_next(&mut queue), [0, 2, 3]);
    queue.done(0);
    assert_eq!(all_next(&mut queue), [1]);
    queue.done(1);
    queue.done(2);
    queue.done(3);
    assert_eq!((queue.len(), queue.bytes()), (0, 0));
    assert!(queue.by_key.is_empty() && queue.by_broadcast.is_empty());
}

#[test]
fn the_playlists_of_all_renditions_go_at_once_and_what_leads_to_them_afterwards() {
    let mut queue = Queue::default();
    queue.push(0, entry("a/v/index.m3u8", Kind::Pointer));
    queue.push(1, entry("a/w/index.m3u8", Kind::Pointer));
    queue.push(2, entry("a/index.m3u8", Kind::Pointer));
    assert_eq!(all_next(&mut queue), [0, 1]);
    queue.done(0);
    assert!(all_next(&mut queue).is_empty());
    queue.done(1);
    assert_eq!(all_next(&mut queue), [2]);
}

#[test]
fn of_many_versions_the_oldest_and_the_newest_go() {
    let mut queue = Queue::default();
    assert!(queue.push(0, entry("a/v/0.m4s", Kind::Object)).is_empty());
    assert!(queue.push(1, entry("a/v/index.m3u8", Kind::Pointer)).is_empty());
    assert!(queue.push(2, entry("a/v/index.m3u8", Kind::Pointer)).is_empty());
    assert_eq!(queue.push(3, entry("a/v/index.m3u8", Kind::Pointer)), [2]);
    assert_eq!(queue.push(4, entry("a/v/index.m3u8", Kind::Pointer)), [3]);
    assert_eq!(queue.newest("a/v/index.m3u8"), Some((4, Kind::Pointer)));
}

#[test]
fn what_is_deleted_before_it_went_never_goes() {
    let mut queue = Queue::default();
    queue.push(0, entry("a/chat/0.x.json", Kind::Object));
    assert_eq!(queue.next().map(|(number, _)| number), Some(0));
    assert!(queue.begin(0));
    queue.pause(0);
    assert_eq!(queue.push(1, entry("a/chat/0.x.json", Kind::Delete)), [0]);
    assert!(!queue.begin(0), "it was taken back while it was not on the wire");
    assert_eq!(queue.newest("a/chat/0.x.json"), Some((1, Kind::Delete)));
    assert_eq!(all_next(&mut queue), [1]);
}

#[test]
fn a_key_is_sent_once_at_a_time() {
    let mut queue = Queue::default();
    queue.push(0, entry("a/v/init.mp4", Kind::Object));
    queue.push(1, entry("a/v/init.mp4", Kind::Object));
    assert_eq!(all_next(&mut queue), [0]);
    queue.done(0);
    assert_eq!(all_next(&mut queue), [1]);
    queue.release();
    assert_eq!(all_next(&mut queue), [1]);
}

#[test]
fn names_below_a_folder() {
    let mut queue = Queue::default();
    queue.push(0, entry("a/v/0.m4s", Kind::Object));
    queue.push(1, entry("a/v/1.m4s", Kind::Delete));
    queue.push(2, entry("ab/v/2.m4s", Kind::Object));
    let below = |folder: &'static str| {
        let mut below: Vec<_> = queue.below(folder).collect();
        below.sort_unstable();
        below
    };
    assert_eq!(below("a/v"), [("0.m4s", true), ("1.m4s", false)]);
    assert_eq!(below("a"), [("v/0.m4s", true), ("v/1.m4s", false)]);
    assert_eq!(below("").len(), 3);
}
