//go:build !unix || aix

package vm

// The build stops here, with this sentence. The compiler shows up to 72 characters of it once, and
// more twice.
func init() {
	"offheap runs on Linux, Android, macOS, iOS, the BSDs and Solaris only"
}
