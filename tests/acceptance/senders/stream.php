<?php
// PHP's file_get_contents, which gives false where the answer is no success.
$http = [
    'method' => 'POST',
    'header' => ['X-Api-Key: ' . getenv('LAKEGATE_KEY'), 'Content-Type: application/x-ndjson'],
    'content' => stream_get_contents(STDIN),
];
exit(@file_get_contents(getenv('LAKEGATE_URL'), false, stream_context_create(['http' => $http])) === false ? 1 : 0);
