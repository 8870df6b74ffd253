// In place of the file of smithy-go, whose WriteTo says io.EOF of a closed body, where none is an error: the body is
// closed once an answer is there, and if that was quick, net/http is still looking for more of it. It then ends the
// connection, and the call is made a second time. Seen once in some hundred calls of an emulator, with v1.26.0; v1.28.9
// is the same.

package io

import (
	"io"
	"sync"
)

type safeReadCloser struct {
	mutex sync.Mutex
	body  io.ReadCloser // nil: closed
}

// NewSafeReadCloser gives a body that may be closed while another goroutine reads it.
func NewSafeReadCloser(body io.ReadCloser) io.ReadCloser {
	return &safeReadCloser{body: body}
}

func (s *safeReadCloser) Read(data []byte) (int, error) {
	s.mutex.Lock()
	defer s.mutex.Unlock()
	if s.body == nil {
		return 0, io.EOF
	}
	return s.body.Read(data)
}

func (s *safeReadCloser) Close() error {
	s.mutex.Lock()
	defer s.mutex.Unlock()
	if s.body == nil {
		return nil
	}
	body := s.body
	s.body = nil
	return body.Close()
}
