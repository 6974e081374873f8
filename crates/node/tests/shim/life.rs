//! How containers start and end, what is recorded, and who may be away meanwhile.

use crate::owner::pod_test;
use crate::pod::TestPod;

pod_test! {
    async fn an_exit_code_is_recorded() {
        let pod = TestPod::start().await;
        let (record, log) = pod.run(pod.container("main", ["/bin/sh", "-c", "echo hello; exit 3"])).await;
        assert_eq!((record.exit_code, record.signal), (Some(3), None), "{record:?}");
        assert_eq!(log, "hello\n");
    }
}
