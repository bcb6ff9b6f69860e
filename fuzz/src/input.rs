//! A fuzzer's bytes, taken from the front. Where they end, zeros follow.

pub struct Input<'a>(pub &'a [u8]);

impl<'a> Input<'a> {
    pub fn is_over(&self) -> bool {
        self.0.is_empty()
    }

    pub fn byte(&mut self) -> u8 {
        let [byte] = self.take();
        byte
    }

    pub fn short(&mut self) -> u16 {
        u16::from_be_bytes(self.take())
    }

    pub fn word(&mut self) -> u32 {
        u32::from_be_bytes(self.take())
    }

    /// As many as the next two bytes say, within a datagram.
    pub fn some(&mut self) -> &'a [u8] {
        let wanted = usize::from(self.short() % 1500);
        let (some, rest) = self.0.split_at(wanted.min(self.0.len()));
        self.0 = rest;
        some
    }

    fn take<const N: usize>(&mut self) -> [u8; N] {
        let mut taken = [0; N];
        let (some, rest) = self.0.split_at(N.min(self.0.len()));
        taken[..some.len()].copy_from_slice(some);
        self.0 = rest;
        taken
    }
}
