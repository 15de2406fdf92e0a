//! The RTMP server in front: nginx with its RTMP module, as a process of our own.
