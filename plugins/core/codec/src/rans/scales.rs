//! The parameters of the shipped scale tables as integers, so that nobody has to evaluate a
//! logarithm or an exponential to get the same tables.

/// Decay of the two-sided geometric distribution `p(k) ~ theta^|k|` of table `i`, times 2^62: its
/// mean magnitude is `m = 0.004 * 2^(13.35 i / 63)`, and `theta = (sqrt(1 + m^2) - 1) / m`.
pub const LAPLACE_THETA_Q62: [u64; 64] = [
    0x0020c4930ee1e0cd, 0x0025f3c550e3b8fe, 0x002bf4f1a2ae17c4, 0x0032e94fbf0d8cb7,
    0x003af7583b04f845, 0x00444b98fb26320e, 0x004f19ab18f59ebd, 0x005b9d4f69a5e079,
    0x006a1bb79bf09951, 0x007ae502beb7675e, 0x008e55f4f4e94355, 0x00a4d9f321fa0e84,
    0x00beed4c6e168770, 0x00dd1fdc948ece03, 0x01001812e97580d2, 0x0128966abc080dd9,
    0x01577961ee9221ce, 0x018dc1f9ddb56e78, 0x01cc98cc555b9912, 0x021553b94fbf6fd5,
    0x02697c28fd664210, 0x02cad5cdba78a48c, 0x033b65b79f1c1b90, 0x03bd79624593401b,
    0x0453ad2657324769, 0x0500f11aa0404b27, 0x05c88ae9b508f7b7, 0x06ae1268995ba842,
    0x07b565ce7227b837, 0x08e2915e3a2fcbc2, 0x0a39a55abb764b4d, 0x0bbe74b88a07231f,
    0x0d74380f077c0aa8, 0x0f5d13fe92ef652e, 0x117989c71817c847, 0x13c7e4349c0e4e2f,
    0x1643bfd5539f2570, 0x18e5d593a06503db, 0x1ba42a5f97911e98, 0x1e72b1100f69fce1,
    0x21444a154f54ac46, 0x240beddcf8f65de4, 0x26bdc2b484b0d7a7, 0x294fead9b680468b,
    0x2bbaf2c5a5f4d5ae, 0x2df9e3eb4f3ae2a5, 0x300a12620ee58446, 0x31eac1bf1f77f9ad,
    0x339cba20e361f5fe, 0x3521df28e11f5440, 0x367cd32099d84512, 0x37b0aaa5ce9356f4,
    0x38c0b165eddfa4fa, 0x39b03e55caddbeed, 0x3a8294ec425dd5eb, 0x3b3ad0ba1cbd1fc8,
    0x3bdbd8ee7a48267c, 0x3c6859b4f81070e1, 0x3ce2c1c166c78d75, 0x3d4d42bc4b0f2cfe,
    0x3da9d394d5e0331e, 0x3dfa33ff235dc0c1, 0x3e3ff0996684672a, 0x3e7c675a486e9f2e,
];

/// `exp(-1 / (64 s)^2)` of table `i`, times 2^62, for a standard deviation of
/// `s = 0.11 * 2^(9.2 i / 63)`: the second ratio of a Gaussian sampled 64 times a bin.
pub const GAUSSIAN_STEP_Q62: [u64; 64] = [
    0x3eb8bbf451760d30, 0x3ef437d3ad848384, 0x3f24f6c6d672d18b, 0x3f4ce2be9dd3eccf,
    0x3f6d9073d3383197, 0x3f884d844e03bac0, 0x3f9e2c77ff675e68, 0x3fb00ee72f674b11,
    0x3fbeadfdd2a2c6e4, 0x3fcaa195f40433f0, 0x3fd4661eaeabb3fe, 0x3fdc617f8c7b1b99,
    0x3fe2e72225ab2d80, 0x3fe83b4613d4a5d4, 0x3fec95bdf25e20c1, 0x3ff0242f5e09d33f,
    0x3ff30bebb5dbc44c, 0x3ff56b73c44f1fff, 0x3ff75bb5657c50db, 0x3ff8f10fa6f807fc,
    0x3ffa3c27b188b00b, 0x3ffb4a96fc7a097b, 0x3ffc2779c89fa524, 0x3ffcdbe3a1bbf4a6,
    0x3ffd6f3e9d492b7d, 0x3ffde799344ee6f0, 0x3ffe49e5e326f42b, 0x3ffe9a2f27324caa,
    0x3ffedbc1f9f60150, 0x3fff1150864351ac, 0x3fff3d0e8314dfb1, 0x3fff60c85d7ce126,
    0x3fff7df624bbb843, 0x3fff95caff307226, 0x3fffa941ca84bf2a, 0x3fffb9276bc5054b,
    0x3fffc6233bcf70b2, 0x3fffd0bde8ae147a, 0x3fffd96714399011, 0x3fffe079eb220412,
    0x3fffe640e4a8e6fe, 0x3fffeaf8d27e2c04, 0x3fffeed360f97d64, 0x3ffff1f9220140f6,
    0x3ffff48b381ec4f4, 0x3ffff6a4b34eaad6, 0x3ffff85bade50cf2, 0x3ffff9c2353c2153,
    0x3ffffae707bea081, 0x3ffffbd6301e6734, 0x3ffffc99841935a4, 0x3ffffd390c02063d,
    0x3ffffdbb5750e915, 0x3ffffe25c1b39568, 0x3ffffe7cab75bfa8, 0x3ffffec3a7930541,
    0x3ffffefda1576c68, 0x3fffff2cfb1a94b0, 0x3fffff53a7591d82, 0x3fffff733d347d66,
    0x3fffff8d0931187d, 0x3fffffa21ae2d7f3, 0x3fffffb3501836c8, 0x3fffffc15df956af,
];
